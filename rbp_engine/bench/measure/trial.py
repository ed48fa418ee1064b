"""Build what a worker trains with and measure it: steps, whole or with fewer images and timesteps, and other parts of
an epoch."""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext

import torch
from torch import Tensor

from rbp_engine.data.loading.batch_loader import Batch
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.methods import StepOutput
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.gradient_fidelity import first_samples
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train import memory
from rbp_engine.train.build import build_feed
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.optimisation import set_learning_rate
from rbp_engine.train.ranks.seeding import seed_everything
from rbp_engine.train.session import TrainingSession

# The approximate duration of a small step, in seconds.
SMALL_STEP_S = 2.0
FIRST_BATCH = 4
WARM_UP, MEASURED = 2, 3


@dataclasses.dataclass(frozen=True)
class Point:
    """A training step of `batch` images at `timesteps`: seconds, and peak memory of the process in bytes."""

    batch: int
    timesteps: int
    seconds: float
    peak: int


class Trial(TrainingSession):
    """What a worker trains with, and the cost of a step. The learning rate is 0, so no loss diverges."""

    def __init__(self, run: RunDirectory, preset: Preset, device: torch.device) -> None:
        seed_everything(preset.run.seed)
        super().__init__(run, preset, build_feed(run, preset, device), device)
        self.state.model.train()
        set_learning_rate(self.state.optimizer, 0.0)
        self._taken = 0

    def take(self, images: Tensor, labels: Tensor, timesteps: int | None = None) -> StepOutput:
        """One optimizer step; `timesteps` replaces the preset's T."""
        asked = self.preset.method.timesteps if timesteps is None else timesteps
        if asked != self.state.method.timesteps:
            self.state.method = self.method(asked)
        out = self.step(images, labels, len(labels))
        self._taken += 1
        if self.state.average is not None:
            self.state.average.update(self._taken, self.step.guard.skipping)
        return out

    def optimizer_bytes(self) -> int:
        """The bytes of the optimizer's state."""
        states = self.state.optimizer.state.values()
        return sum(value.nbytes for state in states for value in state.values() if isinstance(value, Tensor))

    def clock(self) -> float:
        """The time in seconds after the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def timed(self, work: Callable[[], object], seconds: float = 0.0, least: int = 1) -> tuple[float, int]:
        """Mean seconds of `work`, and how often it was done: for so many seconds, and at least so often."""
        started, done = self.clock(), 0
        while done < least or time.perf_counter() - started < seconds:
            work()
            done += 1
        return (self.clock() - started) / done, done

    @functools.cached_property
    def batch(self) -> Batch:
        """The first batch, which is measured."""
        return next(iter(self.feed.train.epoch(0)))

    def point(self, batch: int, timesteps: int, steps: int = 2) -> Point:
        """Mean of some steps on the first images of the batch, in one part, after a warm-up step."""
        parts, self.step.accumulate = self.step.accumulate, 1
        images, labels = first_samples(*self.batch, batch)
        images = images[:timesteps] if images.ndim == 5 else images
        memory.reset_peak(self.device)
        self.take(images, labels, timesteps)
        seconds, _ = self.timed(lambda: self.take(images, labels, timesteps), least=steps)
        self.step.accumulate = parts
        return Point(batch, timesteps, seconds, memory.peak(self.device))

    def first_point(self, steps: int = 2) -> Point:
        """A step of a few images."""
        return self.point(min(FIRST_BATCH, len(self.batch[1])), self.preset.method.timesteps, steps)

    def small_points(self, batch: int) -> list[Point]:
        """The points that determine a plane: half of the batch, half of T, and all of both.

        A batch of one has no half, and what an image takes would seem to be fixed: it is three if there are as many. A
        batch norm behind which an image is one pixel cannot train on a batch of one, so half of it is two if it can.
        """
        batch, timesteps = max(batch, min(3, len(self.batch[1]))), self.preset.method.timesteps
        half = max(2, batch // 2) if batch > 2 else 1
        wanted = [(half, timesteps), (batch, max(1, timesteps // 2)), (batch, timesteps)]
        return [self.point(*each) for each in dict.fromkeys(wanted)]

    def training(self, seconds: float) -> dict[str, float]:
        """Mean seconds of a step with its probes and the fetch of its batch, and of the fetch alone."""
        batches, probes, numbers = endless(self.feed.train), self.probes(), itertools.count(1)
        fetching: list[float] = []

        def step() -> None:
            asked = time.perf_counter()
            images, labels = next(batches)
            fetching.append(time.perf_counter() - asked)
            number = next(numbers)
            with probes.watch(number):
                self.take(images, labels)
            if probes.measure(number):
                probes.take()

        for _ in range(WARM_UP):
            step()
        mean_s, steps = self.timed(step, seconds, MEASURED)
        return {"seconds": mean_s, "data_seconds": sum(fetching[-steps:]) / steps, "steps": steps}

    def fetching_s(self, seconds: float) -> float:
        """Mean seconds of fetching a batch, without training."""
        batches = endless(self.feed.train)
        next(batches)
        return self.timed(lambda: next(batches), seconds)[0]

    def evaluation_s(self, batch: int, seconds: float) -> float:
        """Mean seconds of evaluating a batch of the preset's size, extrapolated from `batch` images.

        If there is an average of the weights, it is in their place, as in the second evaluation of such a run.
        """
        average, model, method = self.state.average, self.state.model, self.method()
        batches = itertools.chain.from_iterable(itertools.repeat(self.feed.validation))

        def predict() -> None:
            images, _ = first_samples(*next(batches), batch)
            method.predict(model, images)

        with nullcontext() if average is None else average.applied():
            predict()
            return self.timed(predict, seconds)[0] * self.preset.data.batch_size / batch

    def end_s(self) -> float:
        """Seconds for saving a best checkpoint, measured the second time."""
        epochs = itertools.count(1)

        def save() -> None:
            epoch = next(epochs)
            at = Progress(epoch, epoch)
            checkpoint.save(self.run.checkpoints, self.state, at, {}, experiment="", best=True)

        save()
        return self.timed(save)[0]


def endless(source: TrainingBatches) -> Generator[Batch]:
    """The batches of endless epochs."""
    for epoch in itertools.count():
        yield from source.epoch(epoch)


def affordable_batch(first: Point, base: int, limit: int) -> int:
    """A batch whose step takes little time and less than half of the memory; `base` is the memory in use before."""
    return max(1, int(first.batch * min(SMALL_STEP_S / first.seconds, 0.4 * limit / max(1, first.peak - base))))
