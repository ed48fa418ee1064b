"""Time the parts of an epoch as in the worker: steps, an evaluation, and the end of the epoch."""

import itertools
import time
from contextlib import nullcontext

from rbp_engine.bench.measure.trial import Trial, endless
from rbp_engine.probes.gradient_fidelity import first_samples
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress

WARM_UP, MEASURED = 2, 3


def training(trial: Trial, seconds: float) -> dict[str, float]:
    """Mean seconds of a step with its probes and the fetch of its batch, and of the fetch alone."""
    batches, probes, numbers = endless(trial.feed.train), trial.probes(), itertools.count(1)
    fetching: list[float] = []

    def step() -> None:
        asked = time.perf_counter()
        images, labels = next(batches)
        fetching.append(time.perf_counter() - asked)
        number = next(numbers)
        with probes.watch(number):
            trial.take(images, labels)
        if probes.measure(number):
            probes.take()

    for _ in range(WARM_UP):
        step()
    mean_s, steps = trial.timed(step, seconds, MEASURED)
    return {"seconds": mean_s, "data_seconds": sum(fetching[-steps:]) / steps, "steps": steps}


def fetching_s(trial: Trial, seconds: float) -> float:
    """Mean seconds of fetching a batch, without training."""
    batches = endless(trial.feed.train)
    next(batches)
    return trial.timed(lambda: next(batches), seconds)[0]


def evaluation_s(trial: Trial, batch: int, seconds: float) -> float:
    """Mean seconds of evaluating a batch of the preset's size, extrapolated from `batch` images.

    If there is an average of the weights, it is in their place, as in the second evaluation of such a run.
    """
    average, model, method = trial.state.average, trial.state.model, trial.method()
    batches = itertools.chain.from_iterable(itertools.repeat(trial.feed.validation))

    def predict() -> None:
        images, _ = first_samples(*next(batches), batch)
        method.predict(model, images)

    with nullcontext() if average is None else average.applied():
        predict()
        return trial.timed(predict, seconds)[0] * trial.preset.data.batch_size / batch


def end_s(trial: Trial) -> float:
    """Seconds for saving a best checkpoint, measured the second time."""
    epochs = itertools.count(1)

    def save() -> None:
        epoch = next(epochs)
        at = Progress(epoch, epoch)
        checkpoint.save(trial.run.checkpoints, trial.state, at, {}, experiment="", best=True)

    save()
    return trial.timed(save)[0]
