"""What this machine has and who uses it, as of a moment: GPUs by NVML, the rest by psutil."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import processes_by_run

# Over this time the use of the processor is measured.
MEASURED_S = 0.2


@dataclass(frozen=True)
class CardReading:
    """A GPU: memory in bytes, utilisation as a fraction, power in watts, temperature in °C; None for what is not known.

    `processes` are pairs of a pid and its bytes, 0 where those are not known. `problem` is why the card says nothing.
    """

    index: int
    name: str = ""
    used: int = 0
    total: int = 0
    utilisation: float | None = None
    power: float | None = None
    temperature: float | None = None
    processes: tuple[tuple[int, int], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Use:
    """What the processes of a run take on this host: resident memory in bytes, and how many cores they keep busy."""

    run: RunDirectory
    pids: frozenset[int]
    memory: int
    cores: float


@dataclass(frozen=True)
class MachineReading:
    """`cores` are the busy fractions of each, memory and disk are bytes. `no_cards` says why there are none.

    The disk is that of the runs directory; None where it cannot be asked.
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


class MachineReader:
    """Reads again and again; the time that processes have used is counted from one reading to the next."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._counted: set[int] = set()

    def read(self) -> MachineReading:
        """How it is now; takes a moment."""
        found = processes_by_run()
        present = [process for processes in found.values() for process in processes]
        for process in present:
            if process.pid not in self._counted:
                # psutil counts from its first call for a process, which it keeps for the next reading.
                with contextlib.suppress(psutil.Error):
                    process.cpu_percent()
        self._counted = {process.pid for process in present}
        cores = psutil.cpu_percent(interval=MEASURED_S, percpu=True)
        cards, no_cards = read_cards()
        memory = psutil.virtual_memory()
        disk = _disk(self.runs)
        return MachineReading(
            cards=tuple(cards),
            no_cards=no_cards,
            cores=tuple(core / 100.0 for core in cores),
            load=os.getloadavg(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=disk.free if disk else None,
            disk_total=disk.total if disk else None,
            uses=tuple(_use(run, processes) for run, processes in found.items()),
        )


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


def read_cards() -> tuple[list[CardReading], str]:
    """The GPUs of this machine; where there are none, why."""
    try:
        import pynvml as nvml
    except ImportError:
        return [], "nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], str(error)
    try:
        count = nvml.nvmlDeviceGetCount()
        return [_card(nvml, index) for index in range(count)], "" if count else "the driver knows of no card"
    except nvml.NVMLError as error:
        return [], str(error)
    finally:
        nvml.nvmlShutdown()


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
    power = asked(nvml.nvmlDeviceGetPowerUsage)
    return CardReading(
        index=index,
        name=name,
        used=memory.used,
        total=memory.total,
        utilisation=None if rates is None else rates.gpu / 100.0,
        power=None if power is None else power / 1000.0,
        temperature=asked(lambda card: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
        processes=tuple(
            (process.pid, process.usedGpuMemory or 0)
            for process in asked(nvml.nvmlDeviceGetComputeRunningProcesses) or ()
        ),
    )
