"""What this machine has and who uses it, as of a moment: GPUs by NVML, the rest by psutil."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import processes_by_run
from rbp_tui.dashboard.reading.cards import CardReader, CardReading


@dataclass(frozen=True)
class Use:
    """What the processes of a run take on this host: resident memory in bytes, and how many cores they keep busy."""

    run: RunDirectory
    pids: frozenset[int]
    memory: int
    cores: float


@dataclass(frozen=True)
class MachineReading:
    """`cores` are the busy fractions of each since the last reading; memory and disk are bytes, the disk's traffic
    bytes per second.

    `no_cards` says why there are none; for `silent_s` seconds their driver has not answered. The disk is that of the
    runs directory; None where it cannot be asked.
    """

    cards: tuple[CardReading, ...]
    no_cards: str
    cores: tuple[float, ...]
    load: tuple[float, float, float]
    memory_used: int
    memory_total: int
    disk_free: int | None
    disk_total: int | None
    uses: tuple[Use, ...]
    traffic: float | None = None
    silent_s: float = 0.0


class MachineReader:
    """Reads again and again; what processes, cores and disks have done is counted from one reading to the next."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._cards = CardReader()
        self._counted: set[int] = set()
        self._moved: tuple[float, int] | None = None
        psutil.cpu_percent(percpu=True)

    def read(self, *, uses: bool) -> MachineReading:
        """How it is now; with `uses`, also which run uses what, which takes most of the time."""
        by_run = self._look_for_runs() if uses else ()
        cards = self._cards.read()
        memory = psutil.virtual_memory()
        disk = _disk(self.runs)
        return MachineReading(
            cards=cards.cards,
            no_cards=cards.none_because,
            cores=tuple(core / 100.0 for core in psutil.cpu_percent(percpu=True)),
            load=os.getloadavg(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=disk.free if disk else None,
            disk_total=disk.total if disk else None,
            uses=by_run,
            traffic=self._traffic(),
            silent_s=cards.silent_s,
        )

    def _look_for_runs(self) -> tuple[Use, ...]:
        found = processes_by_run()
        new = {process.pid: process for processes in found.values() for process in processes}
        for process in (new[pid] for pid in new.keys() - self._counted):
            # psutil counts from its first call for a process, which it keeps for the next reading.
            with contextlib.suppress(psutil.Error):
                process.cpu_percent()
        if new.keys() - self._counted:
            time.sleep(0.1)
        self._counted = set(new)
        return tuple(_use(run, processes) for run, processes in found.items())

    def _traffic(self) -> float | None:
        """Bytes per second that all disks have read and written since the last reading; None if that is not known."""
        counters, now, before = psutil.disk_io_counters(), time.monotonic(), self._moved
        self._moved = None if counters is None else (now, counters.read_bytes + counters.write_bytes)
        if before is None or self._moved is None or now <= before[0]:
            return None
        return max(0, self._moved[1] - before[1]) / (now - before[0])


def _use(run: RunDirectory, processes: list[psutil.Process]) -> Use:
    memory, cores, pids = 0, 0.0, set()
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            memory += process.memory_info().rss
            cores += process.cpu_percent() / 100.0
            pids.add(process.pid)
    return Use(run, frozenset(pids), memory, cores)


def _disk(runs: Path) -> Any:
    """The usage of the file system that runs are kept on, or will be."""
    for folder in (runs, *runs.absolute().parents):
        with contextlib.suppress(OSError):
            return psutil.disk_usage(str(folder))
    return None
