"""What a recorder makes of steps: metrics, the time that they took, and the events of the machine."""

import time
from typing import Any

import pytest
import torch
from torch import Tensor

from rbp_engine.methods import StepOutput
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files import events
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.record import recorder as recorder_module
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.recorder import Recorder
from tests.run_files import events_of


def recorder_of(run: RunDirectory, log_every: int) -> Recorder:
    journal = Journal(run, Summary("job", "p", "e", "rate_m", 2, 1), 1, RankProcess(run.ranks, 0, 0, 1))
    return Recorder(journal, MemoryGauge(torch.device("cpu")), None, log_every, Ranks(), Probes([]))


def test_system_events_cover_all_steps_since_the_last_one(run):
    """The gauge only answers at the fourth drain. Two of the steps before have slept for a tenth of a second."""
    recorder = recorder_of(run, 2)
    out, labels = StepOutput(torch.tensor(1.0), torch.zeros(2, 4)), torch.zeros(2, dtype=torch.long)
    recorder.gauge._read = float("inf")
    recorder.begin()
    for number in range(1, 5):
        time.sleep(0.1 if number < 3 else 0.0)
        recorder.step(Progress(number, 0, number), out, labels, 0.1)
        if number == 4:
            recorder.gauge._read = 0.0
        recorder.drain()
    recorder.journal.end("failed", "")
    [event] = events_of(run, events.System)
    assert event.body.step_ms >= 2 * 100.0 / 4


class Clock:
    """Shows the time that it is set to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Computing(torch.Tensor):
    """A result that a slow device is still computing: reading it takes 8 s."""

    clock = Clock()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist:
            cls.clock.now += 8.0
        return super().__torch_function__(func, types, args, kwargs)


def timed(run: RunDirectory, patch: pytest.MonkeyPatch, steps: int, loss: Tensor, probe_s: float) -> Recorder:
    """What has recorded steps, each with 1 s to fetch its data, 2 s to start its computation, and a probe after it."""
    clock = Computing.clock = Clock()
    patch.setattr(recorder_module, "time", clock)
    recorder = recorder_of(run, 4)
    recorder.begin()
    for number in range(1, steps + 1):
        clock.now += 1.0
        recorder.fetched()
        clock.now += 2.0
        out, labels = StepOutput(loss, torch.zeros(2, 4)), torch.zeros(2, dtype=torch.long)
        recorder.step(Progress(number, 0, number), out, labels, 0.1)
        recorder.journal.summary.progressed = 0.0
        clock.now += probe_s
        if probe_s:
            recorder.measured()
            assert recorder.journal.summary.progressed > 0.0, "a probe is no stall"
        if number in (2, 4):  # as twice a second, and at the end of an epoch
            recorder.drain()
    recorder.journal.end("failed", "")
    return recorder


@pytest.mark.parametrize(
    ("loss", "waited", "probe_s"),
    [(torch.tensor(1.0).as_subclass(Computing), 2 * 8, 0.0), (torch.tensor(1.0), 0, 100.0)],
    ids=["a device that is waited for", "a probe"],
)
def test_waiting_for_the_device_counts_as_step_time_not_as_data_time_and_a_probe_as_neither(
    run, monkeypatch, loss, waited, probe_s
):
    recorder = timed(run, monkeypatch, 4, loss, probe_s)
    [event] = events_of(run, events.Metrics)
    assert (event.body.step_ms, event.body.data_ms) == (1000.0 * (4 * 3 + waited) / 4, 1000.0)
    assert event.body.samples_per_s == 8 / (4 * 3 + waited)
    assert recorder.journal.summary.trained_s == 4 * 3 + waited


def test_of_mixed_images_the_class_with_the_larger_share_counts_as_right(run):
    recorder = recorder_of(run, 1)
    recorder.begin()
    out = StepOutput(torch.tensor(1.0), torch.tensor([[2.0, 1.0]] * 4))
    recorder.step(Progress(1, 0, 1), out, torch.tensor([[0.7, 0.3]] * 3 + [[0.4, 0.6]]), 0.1)
    recorder.drain()
    recorder.journal.end("failed", "")
    assert [event.body.top1 for event in events_of(run, events.Metrics)] == [0.75]
