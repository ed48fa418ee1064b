"""Some SECONDS of a run's training: `python -m rbp_engine.bench.measure_cost RUN SECONDS`, what they cost as JSON.

On the data of the run or, where that is not here, on random images of its shape. Where a whole step would take longer
than that or more memory than there is, smaller ones are measured.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from rbp_engine.bench import memory, stand_in
from rbp_engine.bench.answer import answer
from rbp_engine.bench.epoch import Epoch
from rbp_engine.bench.trial import FIRST_BATCH, Point, Trial, affordable_batch, small_points
from rbp_engine.preset import read_resolved
from rbp_engine.run.layout import RunDirectory
from rbp_engine.train.device import choose_device, describe_device

# Evaluation gets this share of the seconds beside those of training.
EVALUATION = 0.4


def measure(run: RunDirectory, seconds: float) -> dict[str, Any]:
    """All that a prediction needs: steps, whole or in parts, evaluation, the end of an epoch, and how many there are.

    `whole` has the mean of whole steps, or is null; then `points` has smaller ones. Times are seconds, memory bytes.
    """
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    shape = None if stand_in.is_here(preset.data) else stand_in.known_shape(preset.data)
    limit = memory.limit(device)
    trial = Trial(run, preset if shape is None else stand_in.with_stand_in(preset, shape), device)
    epoch = Epoch(trial)
    base = memory.reset_peak(device)
    images, labels = next(iter(trial.feed.train.epoch(0)))
    batch, timesteps = len(labels), preset.method.timesteps
    trial.point(images, labels, min(FIRST_BATCH, batch), timesteps, steps=1)
    startup_s = time.time() - psutil.Process().create_time()
    # Once more: what a process does only once is behind it now.
    first = trial.point(images, labels, min(FIRST_BATCH, batch), timesteps)
    growth = batch / first.batch
    whole, full = None, False
    if first.seconds * growth < seconds and base + (first.peak - base) * growth < limit:
        whole = _unless_memory_is_full(partial(epoch.training, seconds))
        full = whole is None
    points: list[Point] = []
    if whole is None:
        part = min(affordable_batch(first, base, limit), max(1, batch // 2))
        points = small_points(trial, images, labels, part)
    steps, evaluations = _count(trial) if shape is None else stand_in.batches(preset, shape)
    return {
        "device": describe_device(device),
        "limit": limit,
        "data_is_here": shape is None,
        "data_bytes": 0 if shape is None else stand_in.bytes_in_memory(preset, shape),
        "steps": steps,
        "evaluations": evaluations,
        "startup_s": startup_s,
        "whole": whole,
        "memory_was_full": full,
        "points": [dataclasses.asdict(point) for point in points],
        "fetching_s": epoch.fetching_s(EVALUATION * seconds) if points else None,
        "evaluation_s": epoch.evaluation_s(points[-1].batch if points else batch, EVALUATION * seconds),
        "end_s": epoch.end_s(),
        "peak": memory.peak(device),
    }


def _count(trial: Trial) -> tuple[int, int]:
    """Steps of an epoch, and batches of its evaluation; files are not read for it."""
    steps = len(trial.feed.train)
    shape = stand_in.known_shape(trial.preset.data)
    if shape is not None and trial.preset.data.name in stand_in.READ_FROM_FILES:
        usual_steps, usual_evaluations = stand_in.batches(trial.preset, shape)
        return steps, max(1, round(steps * usual_evaluations / usual_steps))
    return steps, sum(1 for _ in trial.feed.validation)


def _unless_memory_is_full(measuring: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    try:
        return measuring()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "allocate" not in str(error):
            raise
    return None


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), partial(measure, seconds=float(sys.argv[2]))))
