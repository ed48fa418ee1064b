"""Memory of a process as its events tell it."""

from types import SimpleNamespace

import pytest
import torch

from rbp_engine.train import memory
from rbp_engine.train.memory import MemoryGauge


def test_the_peak_is_never_below_what_is_in_use_though_the_kernel_is_behind_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "READ_EVERY_S", 0.0)
    gauge = MemoryGauge(torch.device("cpu"))
    first = gauge.read()
    monkeypatch.setattr(memory.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=1))
    behind = gauge.read()
    assert first is not None and behind is not None
    assert behind.rss is not None and behind.mem_peak is not None
    assert behind.mem_peak >= max(behind.rss, first.mem_peak or 0)
