"""A few training steps of a run's preset: `python -m rbp_engine.bench.trial RUN`, what they cost as JSON on stdout.

The steps are those of the worker, on the data of the run or, where that is not here, on random images of its shape.
Where a whole step would take too long or more memory than there is, smaller ones are measured: of fewer images, and
of fewer timesteps.
"""

import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor

from rbp_engine.bench import memory, stand_in
from rbp_engine.bench.explain import explain
from rbp_engine.data.protocol import Batch, TrainingSource
from rbp_engine.preset import read_resolved
from rbp_engine.run.layout import RunDirectory
from rbp_engine.train import checkpoint
from rbp_engine.train.assembly import build_feed, build_method, build_model, build_optimizer
from rbp_engine.train.device import choose_device, describe_device
from rbp_engine.train.distributed import Ranks
from rbp_engine.train.optimisation import set_learning_rate
from rbp_engine.train.step import OptimizerStep
from rbp_engine.train.worker import seed_everything

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

# Seconds: the longest step that is measured whole, what is spent on measuring training and evaluation, and about how
# long a step of a smaller measurement takes.
WHOLE_STEP_S, TRAINING_S, EVALUATION_S, SMALL_STEP_S = 4.0, 4.0, 1.5, 2.0
FIRST_BATCH = 4
WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Point:
    """A training step of `batch` images at `timesteps`: seconds, and the peak memory of the process in it, in bytes."""

    batch: int
    timesteps: int
    seconds: float
    peak: int


class Trial:
    """What a worker trains with, and what a step of it costs. The learning rate is 0: no loss becomes infinite."""

    def __init__(self, run: RunDirectory, preset: "Preset", device: torch.device) -> None:
        seed_everything(preset.run.seed)
        self.run, self.preset, self.device = run, preset, device
        self.feed = build_feed(run, preset, device)
        self.model = build_model(run, preset, self.feed, device).train()
        self.optimizer = build_optimizer(preset, self.model)
        set_learning_rate(self.optimizer, 0.0)
        self.steps = {preset.method.timesteps: self._step_of(preset)}

    def step(self, images: Tensor, labels: Tensor, timesteps: int | None = None) -> None:
        """One optimizer step, at another T than the preset's where that is given."""
        asked = self.preset.method.timesteps if timesteps is None else timesteps
        if asked not in self.steps:
            method = self.preset.method.model_copy(update={"timesteps": asked})
            self.steps[asked] = self._step_of(self.preset.model_copy(update={"method": method}))
        self.steps[asked](images, labels, len(labels))

    def _step_of(self, preset: "Preset") -> OptimizerStep:
        return OptimizerStep(
            self.model,
            build_method(preset),
            self.optimizer,
            Ranks(),
            accumulate=preset.train.accumulate,
            clip_norm=preset.optim.clip_norm,
        )

    def clock(self) -> float:
        """Seconds, when the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def point(self, images: Tensor, labels: Tensor, batch: int, timesteps: int, steps: int = 2) -> Point:
        """Mean of some steps after one to warm up, on the first images of a batch."""
        part = first_images(images, batch)
        part = part[:timesteps] if images.ndim == 5 else part
        memory.reset_peak(self.device)
        self.step(part, labels[:batch], timesteps)
        started = self.clock()
        for _ in range(steps):
            self.step(part, labels[:batch], timesteps)
        return Point(batch, timesteps, (self.clock() - started) / steps, memory.peak(self.device))

    def training(self) -> dict[str, float]:
        """Mean seconds of a step and of fetching its batch, over a few seconds of steps."""
        batches = endless(self.feed.train)
        for images, labels in itertools.islice(batches, WARM_UP):
            self.step(images, labels)
        started, fetching, steps = self.clock(), 0.0, 0
        while steps < 3 or time.perf_counter() - started < TRAINING_S:
            asked = time.perf_counter()
            images, labels = next(batches)
            fetching += time.perf_counter() - asked
            self.step(images, labels)
            steps += 1
        return {"seconds": (self.clock() - started) / steps, "data_seconds": fetching / steps, "steps": steps}

    def fetching_s(self) -> float:
        """Mean seconds of fetching a batch, with nothing beside it."""
        batches = endless(self.feed.train)
        next(batches)
        started, fetched = self.clock(), 0
        while fetched < 1 or time.perf_counter() - started < EVALUATION_S:
            next(batches)
            fetched += 1
        return (self.clock() - started) / fetched

    def evaluation_s(self, batch: int) -> float:
        """Mean seconds of evaluating a batch of the preset's size; `batch` images of it are taken."""
        method = self.steps[self.preset.method.timesteps].method
        images, _ = next(iter(self.feed.validation))
        method.predict(self.model, first_images(images, batch))
        started, done = self.clock(), 0
        while done < 1 or time.perf_counter() - started < EVALUATION_S:
            for images, _ in self.feed.validation:
                method.predict(self.model, first_images(images, batch))
                done += 1
                if time.perf_counter() - started > EVALUATION_S:
                    break
        return (self.clock() - started) / done * self.preset.data.batch_size / batch

    def checkpoint_s(self) -> float:
        """Seconds of saving a checkpoint."""
        started = self.clock()
        checkpoint.save(
            self.run.checkpoints, self.model, self.optimizer, checkpoint.Progress(), {}, experiment="", keep=1
        )
        return self.clock() - started


def first_images(images: Tensor, batch: int) -> Tensor:
    """The first images of [B, C, H, W], or of [T, B, C, H, W] at every timestep."""
    return images[:, :batch] if images.ndim == 5 else images[:batch]


def endless(source: TrainingSource) -> Generator[Batch]:
    """Epoch after epoch."""
    for epoch in itertools.count():
        yield from source.epoch(epoch)


def measure(run: RunDirectory) -> dict[str, Any]:
    """All that a prediction needs: steps, whole or in parts, evaluation, a checkpoint, and how many of each there are.

    `whole` has the mean of whole steps, or is null; then `points` has smaller ones. Times are seconds, memory bytes.
    """
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    here, shape = stand_in.is_here(preset.data), stand_in.known_shape(preset.data)
    limit = memory.limit(device)
    trial = Trial(run, preset if here or shape is None else stand_in.with_stand_in(preset, shape), device)
    steps, evaluations = _count(trial, preset.data.name) if here or shape is None else stand_in.batches(preset, shape)
    before = memory.reset_peak(device)
    images, labels = next(iter(trial.feed.train.epoch(0)))
    batch, timesteps = len(labels), preset.method.timesteps
    trial.point(images, labels, min(FIRST_BATCH, batch), timesteps, steps=1)
    startup_s = time.time() - psutil.Process().create_time()
    # Once more: what a process does only once is behind it now.
    first = trial.point(images, labels, min(FIRST_BATCH, batch), timesteps)
    growth = batch / first.batch
    whole, full = None, False
    if first.seconds * growth < WHOLE_STEP_S and before + (first.peak - before) * growth < limit:
        whole = _unless_memory_is_full(trial.training)
        full = whole is None
    points: list[Point] = []
    if whole is None:
        affordable = min(SMALL_STEP_S / first.seconds, 0.4 * limit / max(1, first.peak - before))
        points = small_points(trial, images, labels, max(1, min(int(first.batch * affordable), batch // 2)))
    evaluation_s = trial.evaluation_s(points[-1].batch if points else batch)
    return {
        "device": describe_device(device),
        "limit": limit,
        "data_is_here": here,
        "data_bytes": 0 if here or shape is None else stand_in.bytes_in_memory(preset, shape),
        "steps": steps,
        "evaluations": evaluations,
        "startup_s": startup_s,
        "whole": whole,
        "memory_was_full": full,
        "points": [dataclasses.asdict(point) for point in points],
        "fetching_s": trial.fetching_s() if points else None,
        "evaluation_s": evaluation_s,
        "checkpoint_s": trial.checkpoint_s(),
        "peak": memory.peak(device),
    }


def small_points(trial: Trial, images: Tensor, labels: Tensor, batch: int) -> list[Point]:
    """What a plane goes through: half of the batch, half of T, and all of both."""
    timesteps = trial.preset.method.timesteps
    wanted = [(max(1, batch // 2), timesteps), (batch, max(1, timesteps // 2)), (batch, timesteps)]
    return [trial.point(images, labels, *each) for each in dict.fromkeys(wanted)]


def _count(trial: Trial, name: str) -> tuple[int, int]:
    """Steps of an epoch, and batches of its evaluation; files are not read for it."""
    steps = len(trial.feed.train)
    if name in stand_in.READ_FROM_FILES:
        shape = stand_in.known_shape(trial.preset.data)
        assert shape is not None
        usual_steps, usual_evaluations = stand_in.batches(trial.preset, shape)
        return steps, max(1, round(steps * usual_evaluations / usual_steps))
    return steps, sum(1 for _ in trial.feed.validation)


def _unless_memory_is_full(measure: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    try:
        return measure()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if "allocate" not in str(error):
            raise
    return None


def main(words: list[str]) -> int:
    """Measure; the exit code."""
    try:
        told = measure(RunDirectory(Path(words[0])))
    except Exception as error:
        sys.stdout.write(json.dumps({"problem": explain(error, RunDirectory(Path(words[0])).code)}) + "\n")
        return 1
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
