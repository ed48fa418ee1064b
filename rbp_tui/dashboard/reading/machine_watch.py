"""What this machine has and who uses it: GPUs by NVML, the rest by psutil, read while somebody looks."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import processes_by_run
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.watcher import Watcher

# Usually an answer takes milliseconds. The first waits for the driver to start up.
PATIENCE_S = 1.0
EVERY_S = 2.0


@dataclass(frozen=True)
class CardReading:
    """A GPU: memory in bytes, utilisation as a fraction, None where it is not known.

    `processes` are pairs of a pid and its bytes, 0 where those are not known. `problem` is why the card says nothing.
    """

    index: int
    name: str = ""
    used: int = 0
    total: int = 0
    utilisation: float | None = None
    processes: tuple[tuple[int, int], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Cards:
    """All GPUs, and why there are none. `silent_s` is for how many seconds the driver has not answered."""

    cards: tuple[CardReading, ...] = ()
    none_because: str = ""
    silent_s: float = 0.0


class CardReader:
    """Reads again and again; NVML stays open between two readings, since opening it takes longer than reading."""

    def __init__(self) -> None:
        self._found = Cards(none_because="the driver has not answered yet")
        self._asked = 0.0
        self._question: threading.Thread | None = None
        self._open = False

    def read(self) -> Cards:
        """The GPUs now. If the driver does not answer in time, what it said last, and for how long it has been silent.

        A driver that hangs is not asked anything else before it has answered.
        """
        if self._question is None or not self._question.is_alive():
            self._asked = time.monotonic()
            self._question = threading.Thread(target=self._ask, name="NVML", daemon=True)
            self._question.start()
        self._question.join(PATIENCE_S)
        if not self._question.is_alive():
            return self._found
        return Cards(self._found.cards, self._found.none_because, time.monotonic() - self._asked)

    def _ask(self) -> None:
        try:
            import pynvml as nvml
        except ImportError:
            self._found = Cards(none_because="nvidia-ml-py is not installed")
            return
        try:
            if not self._open:
                nvml.nvmlInit()
                self._open = True
            count = nvml.nvmlDeviceGetCount()
            cards = tuple(_card(nvml, index) for index in range(count))
            self._found = Cards(cards, "" if count else "the driver knows of no card")
        except nvml.NVMLError_LibraryNotFound:
            self._found = Cards(none_because="no NVIDIA driver here")
        except nvml.NVMLError as error:
            self._open = False
            self._found = Cards(none_because=str(error))


def _card(nvml: Any, index: int) -> CardReading:
    def asked(question: Callable[[Any], Any]) -> Any:
        """The answer; None from a card that does not say this, as one that is cut into parts its utilisation."""
        try:
            return question(handle)
        except nvml.NVMLError:
            return None

    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:  # a card that has failed does not hide the others
        return CardReading(index, problem=str(error))
    rates = asked(nvml.nvmlDeviceGetUtilizationRates)
    return CardReading(
        index=index,
        name=name,
        used=memory.used,
        total=memory.total,
        utilisation=None if rates is None else rates.gpu / 100.0,
        processes=tuple(
            (process.pid, process.usedGpuMemory or 0)
            for process in asked(nvml.nvmlDeviceGetComputeRunningProcesses) or ()
        ),
    )


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

    The disk is that of the runs directory; None where it cannot be asked. `hosts` has those of the runs that were live,
    by id, empty for this one.
    """

    gpus: Cards
    cores: tuple[float, ...]
    memory_used: int
    memory_total: int
    disk_free: int | None
    uses: tuple[Use, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)


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


class MachineWatch(Watcher):
    """`sight` is what was seen last, `fault` what went wrong in the thread.

    What processes and cores have done is counted from one reading to the next.
    """

    def __init__(self, runs: Path) -> None:
        super().__init__("machine")
        self.sight: MachineReading | None = None
        self.fault = ""
        self._runs = runs
        self._records: tuple[RunRecord, ...] | None = None
        self._cards = CardReader()
        self._counted: set[int] = set()

    def look_at(self, records: tuple[RunRecord, ...] | None) -> None:
        """Read what the machine has, and where these runs are; None: nobody looks."""
        begins = self._records is None and records is not None
        self._records = records
        if begins:
            self._wake.set()

    def _look(self) -> float | None:
        if (records := self._records) is None:
            psutil.cpu_percent(percpu=True)  # psutil counts for each thread from its first call in it
            return None
        try:
            self.sight, self.fault = self.read(records), ""
        except Exception as error:  # a thread that has died would leave the screen as it is, in silence
            self.fault = f"{type(error).__name__}: {error}"
        return EVERY_S

    def read(self, records: Iterable[RunRecord]) -> MachineReading:
        """How it is now, and which run uses what, which takes most of the time."""
        by_run = self._look_for_runs()
        gpus = self._cards.read()
        memory = psutil.virtual_memory()
        return MachineReading(
            gpus=gpus,
            cores=tuple(core / 100.0 for core in psutil.cpu_percent(percpu=True)),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=_disk_free(self._runs),
            uses=by_run,
            hosts=hosts_of(records),
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


def hosts_of(records: Iterable[RunRecord]) -> dict[str, str]:
    """The hosts of the live runs, by id; empty for this one."""
    live = (record.run for record in records if record.verdict.live)
    started = {run.id: attempt.process for run in live if (attempt := last_attempt(run)) and attempt.process.host}
    return {run_id: "" if process.is_here else process.host for run_id, process in started.items()}
