"""What this machine has and who uses it, as of a moment: GPUs by NVML, the rest by psutil."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

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
    """`cores` are the busy fractions of each since the last reading; memory and disk are bytes.

    `no_cards` says why there are none; for `silent_s` seconds their driver has not answered. The disk is that of the
    runs directory; None where it cannot be asked.
    """

    cards: tuple[CardReading, ...]
    no_cards: str
    cores: tuple[float, ...]
    memory_used: int
    memory_total: int
    disk_free: int | None
    uses: tuple[Use, ...]
    silent_s: float = 0.0


class MachineReader:
    """Reads again and again; what processes and cores have done is counted from one reading to the next."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._cards = CardReader()
        self._counted: set[int] = set()
        psutil.cpu_percent(percpu=True)

    def read(self) -> MachineReading:
        """How it is now, and which run uses what, which takes most of the time."""
        by_run = self._look_for_runs()
        cards = self._cards.read()
        memory = psutil.virtual_memory()
        return MachineReading(
            cards=cards.cards,
            no_cards=cards.none_because,
            cores=tuple(core / 100.0 for core in psutil.cpu_percent(percpu=True)),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=_disk_free(self.runs),
            uses=by_run,
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


def _use(run: RunDirectory, processes: list[psutil.Process]) -> Use:
    memory, cores, pids = 0, 0.0, set()
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            memory += process.memory_info().rss
            cores += process.cpu_percent() / 100.0
            pids.add(process.pid)
    return Use(run, frozenset(pids), memory, cores)


def _disk_free(runs: Path) -> int | None:
    """Free bytes of the file system that runs are kept on, or will be."""
    for folder in (runs, *runs.absolute().parents):
        with contextlib.suppress(OSError):
            return psutil.disk_usage(str(folder)).free
    return None
