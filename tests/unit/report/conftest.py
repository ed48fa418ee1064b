"""Finished runs as files: created like those of `rbp train`, with a worker's records, without training."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.files.events import Metrics, RunEnd, RunStart, Scores, System, Top1ByWeights, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary, write_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.writer import EventWriter
from tests.run_files import change_identity

STEPS_PER_EPOCH, GIB = 20, 2**30


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def finish_run(runs):
    """Make a run of a preset that ended with `status`; `curve` is its top-1 after each epoch."""

    def finish(
        preset: str = "digits",
        *words: str,
        curve: Sequence[float] = (0.5, 0.8, 0.7),
        test: dict[str, float] | None = None,
        status: str = "completed",
        identity: dict[str, Any] | None = None,
        device: str = "cpu",
        host: str = "here",
        created: float | None = None,
        step_ms: float = 10.0,
        mem_peak: int = GIB,
    ) -> RunDirectory:
        run = launch.create(load_preset(preset, words), runs, command=["rbp", "train", preset, *words])
        split = "test" if test is None else "held-out"
        events = EventWriter(run.events(), attempt=1)
        events.write(RunStart(device=device, host=host, steps_per_epoch=STEPS_PER_EPOCH, epochs=len(curve), epoch=0), 0)
        for epoch, top1 in enumerate(curve):
            for step in range(epoch * STEPS_PER_EPOCH + 10, (epoch + 1) * STEPS_PER_EPOCH + 1, 10):
                loss = 2.3 * math.exp(-step / 40)
                events.write(Metrics(epoch, loss, top1, 0.1, 6400.0, step_ms, 1.0), step)
            events.write(System(mem_peak=mem_peak, rss=mem_peak), step)
            events.write(Validation(epoch + 1, 1.0 - top1, top1, 1.0, 360, split), step)
        for weights, top1 in (test or {}).items():
            events.write(Validation(len(curve), 1.0 - top1, top1, 1.0, 360, "test", weights), step)
        best = max(range(len(curve)), key=curve.__getitem__)
        summary = read_summary(run)
        summary.epoch, summary.step, summary.status = len(curve), step, status
        summary.last = Scores(curve[-1], 1.0, 1.0 - curve[-1])
        summary.best = Scores(curve[best], epoch=best + 1)
        summary.test = Top1ByWeights(**(test or {}))
        summary.mem_peak, summary.step_ms, summary.samples_per_s = mem_peak, step_ms, 6400.0
        if status == "completed":
            events.write(RunEnd(status, last=asdict(summary.last), best=asdict(summary.best)), step)
        events.close()
        write_summary(run, summary)
        made = {"host": host, "created": time.time() if created is None else created}
        change_identity(run, **(made | (identity or {})))
        return run

    return finish
