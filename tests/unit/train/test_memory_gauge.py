"""The memory of a process, as in its events."""

import torch

from rbp_engine.train import memory
from rbp_engine.train.memory import MemoryGauge


def test_the_peak_is_never_below_the_memory_in_use_even_if_the_kernel_reports_it_late(monkeypatch):
    monkeypatch.setattr(memory, "READ_EVERY_S", 0.0)
    gauge = MemoryGauge(torch.device("cpu"))
    first = gauge.read()
    monkeypatch.setattr(memory, "resident", lambda: (first.rss, 1))
    behind = gauge.read()
    assert behind.mem_peak >= max(behind.rss, first.mem_peak or 0)
