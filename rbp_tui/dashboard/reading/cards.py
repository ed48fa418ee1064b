"""The GPUs of this machine, read by NVML in a thread of their own: a driver that hangs must not stop the rest."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Usually an answer takes milliseconds. The first waits for the driver to start up.
PATIENCE_S = 1.0


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
