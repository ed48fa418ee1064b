"""Train a run for some SECONDS and print the cost as JSON: `python -m rbp_engine.bench.measure_cost RUN [SECONDS]`.

It uses the data of the run or, if they are not on this machine, random images of the same shape. If a whole step would
take longer than SECONDS or more memory than available, smaller steps are measured. Without SECONDS it measures only
smaller steps, on random images: a plane through their memory and time predicts the cost of larger ones, and which fit.
"""

import dataclasses
import importlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

from rbp_engine.bench.cost import parts_of_batch
from rbp_engine.bench.measure import stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import FIRST_BATCH, Point, Trial, affordable_batch
from rbp_engine.child import Progress
from rbp_engine.data.data_set import DataShape
from rbp_engine.data.open_feed import is_here, known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train import memory
from rbp_engine.train.device import choose_device, describe_device

# A preset that needs this many times the memory does not fit, however inaccurate the estimate.
FAR = 4
# Evaluation gets this fraction of SECONDS in addition to training.
EVALUATION = 0.4


def measure(run: RunDirectory, say: Progress, seconds: float) -> dict[str, Any]:
    """All figures for a prediction: times of steps, evaluation and the end of an epoch, and their numbers.

    `whole` has the mean of whole steps, or is null; then `points` has smaller steps. Times are seconds, memory bytes.
    """
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    limit = memory.limit(device)
    here, shape = is_here(preset.data), known_shape(preset.data)
    begun = time.perf_counter()
    say("a glance at a few images", 0.15)
    trial = None if shape is None else _if_much_too_large(run, preset, device, limit, shape)
    glance_s = 0.0
    if trial is not None:
        seconds = 0.0
    else:
        glance_s = time.perf_counter() - begun  # a run does not have this part
        say("a first step, which may compile", 0.2)
        shape = None if here else shape
        trial = Trial(run, stand_in.with_stand_in(preset, shape), device)
    sizes = {
        "device": describe_device(device),
        "limit": limit,
        "data_is_here": here,
        "data_bytes": 0 if here or shape is None else stand_in.bytes_in_memory(preset, shape),
    }
    figures = _measured(trial, preset, limit, shape, seconds, say)
    return sizes | figures | {"startup_s": figures["startup_s"] - glance_s}


def measure_points(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """Measure steps up to the preset's batch and T; times are seconds, memory bytes."""
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    limit = memory.limit(device)
    trial = Trial(run, stand_in.with_stand_in(preset, known_shape(preset.data)), device)
    base = memory.reset_peak(device)
    trial.first_point()  # with one-time costs
    batch = min(affordable_batch(trial.first_point(), base, limit), len(trial.batch[1]))
    points = [dataclasses.asdict(point) for point in trial.small_points(batch)]
    return {"device": describe_device(device), "limit": limit, "base": base, "points": points}


def _if_much_too_large(
    run: RunDirectory, preset: Preset, device: torch.device, limit: int, shape: DataShape
) -> Trial | None:
    """A trial with a few images of a preset that would need many times the memory; None for any other.

    Nothing is compiled, which would take minutes at the many timesteps that such a preset may have.
    """
    data = preset.data.model_copy(update={"batch_size": min(FIRST_BATCH, preset.data.batch_size)})
    train = preset.train.model_copy(update={"kernel": "eager"})
    few = preset.model_copy(update={"data": data, "train": train})
    trial = Trial(run, stand_in.with_stand_in(few, shape), device)
    base = memory.reset_peak(device)
    needed = base + (trial.first_point(steps=1).peak - base) * parts_of_batch(preset)[1] / data.batch_size
    return trial if needed >= FAR * limit else None


def _growth(preset: Preset, trial: Trial) -> float:
    """By how much the batch of a preset is larger than that of its trial."""
    return preset.data.batch_size / trial.preset.data.batch_size


def _measured(
    trial: Trial, preset: Preset, limit: int, shape: DataShape | None, seconds: float, say: Progress
) -> dict[str, Any]:
    """Measure steps like those of the preset's run for some seconds; `shape` is that of random images, if it has them.

    In 0 seconds every figure is measured once, of the whole batch of the trial, which has a few images.
    """
    growth = _growth(preset, trial)
    importlib.import_module("torch.utils.tensorboard")  # is in the memory of a run, too
    base = memory.reset_peak(trial.device)
    trial.first_point(steps=1)
    startup_s = _age_s()
    # Measure again, now that one-time costs are paid.
    first, batch = trial.first_point(), len(trial.batch[1])
    whole, full = None, False
    needed = base + (first.peak - base) * parts_of_batch(preset)[1] / first.batch
    if first.seconds * batch / first.batch < seconds and needed < limit:
        say("whole training steps", 0.5)
        whole = _unless_memory_is_full(partial(trial.training, seconds))
        full = whole is None
    points: list[Point] = []
    if whole is None:
        say("smaller training steps, for a whole one is long", 0.45)
        part = min(affordable_batch(first, base, limit), max(1, batch // 2)) if seconds else batch
        points = trial.small_points(part)
    say("an evaluation and the end of an epoch", 0.8)
    feed = trial.feed
    steps, evaluations = stand_in.batches(preset, shape) if shape else (len(feed.train), len(feed.validation))
    evaluated, evaluating = points[-1].batch if points else batch, EVALUATION * seconds
    return {
        "steps": steps,
        "evaluations": evaluations,
        "startup_s": startup_s,
        "whole": whole,
        "memory_was_full": full,
        "points": [dataclasses.asdict(point) for point in points],
        "fetching_s": growth * trial.fetching_s(evaluating) if points else None,
        "evaluation_s": growth * trial.evaluation_s(evaluated, evaluating),
        "end_s": trial.end_s(),
        "peak": memory.peak(trial.device),
    }


def _age_s() -> float:
    """Seconds since this process began."""
    return time.time() - psutil.Process().create_time()


def _unless_memory_is_full(measuring: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    try:
        return measuring()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "allocate" not in str(error):
            raise
    return None


if __name__ == "__main__":
    folder, *given = sys.argv[1:]
    measuring = partial(measure, seconds=float(given[0])) if given else measure_points
    sys.exit(answer(RunDirectory(Path(folder)), measuring))
