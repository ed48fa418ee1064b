"""Reading GPUs from a driver that answers late, with errors, or not at all."""

import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from rbp_tui.dashboard.reading import machine_watch as cards
from rbp_tui.dashboard.reading.machine_watch import CardReader


class NVMLError(Exception):
    pass


class NoLibrary(NVMLError):
    pass


@pytest.fixture
def driver(monkeypatch):
    """A driver of one card in the place of NVML. It answers while `answers` is set."""
    nvml = ModuleType("pynvml")
    answers = threading.Event()
    answers.set()
    memory = SimpleNamespace(used=1, total=4)

    def count():
        answers.wait()
        return 1

    parts = {
        "NVMLError": NVMLError, "NVMLError_LibraryNotFound": NoLibrary, "answers": answers, "opened": [],
        "nvmlInit": lambda: nvml.opened.append(1), "nvmlDeviceGetCount": count,
        "nvmlDeviceGetHandleByIndex": lambda index: index, "nvmlDeviceGetName": lambda _: "A100",
        "nvmlDeviceGetMemoryInfo": lambda _: memory,
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=50),
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [SimpleNamespace(pid=7, usedGpuMemory=None)],
    }  # fmt: skip
    vars(nvml).update(parts)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(cards, "PATIENCE_S", 60.0)
    yield nvml
    answers.set()


def test_a_driver_that_hangs_is_asked_once_and_told_apart_from_no_card(driver, monkeypatch):
    reader = CardReader()
    assert reader.read().silent_s == 0.0
    monkeypatch.setattr(cards, "PATIENCE_S", 0.01)
    driver.answers.clear()
    before = threading.active_count()
    silent = [reader.read() for _ in range(3)]
    assert 0.0 < silent[0].silent_s < silent[2].silent_s and silent[2].cards  # what it said last
    assert threading.active_count() <= before + 1
    driver.answers.set()
    monkeypatch.setattr(cards, "PATIENCE_S", 60.0)
    assert reader.read().silent_s == 0.0


def test_after_an_error_the_driver_is_opened_again(driver, monkeypatch):
    def fail():
        raise NVMLError("GPU is lost")

    reader = CardReader()
    with monkeypatch.context() as patch:
        patch.setattr(driver, "nvmlDeviceGetCount", fail)
        assert reader.read().none_because == "GPU is lost"
    for _ in range(2):
        (card,) = reader.read().cards
        assert (card.name, card.utilisation, card.processes) == ("A100", 0.5, ((7, 0),)) and len(driver.opened) == 2


def test_a_machine_without_a_driver_says_so_in_words(driver, monkeypatch):
    def fail():
        raise NoLibrary("NVML Shared Library Not Found")

    monkeypatch.setattr(driver, "nvmlInit", fail)
    assert CardReader().read().none_because == "no NVIDIA driver here"
