"""Time the parts of an epoch as in the worker: steps, an evaluation, and the end of the epoch."""

import itertools
import time
from contextlib import nullcontext

from rbp_engine.bench.measure.trial import Trial, endless, first_images
from rbp_engine.run.files.summary import read_summary
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.checkpointer import Checkpointer
from rbp_engine.train.memory import MemoryGauge
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.record.journal import Journal
from rbp_engine.train.record.recorder import Recorder
from rbp_engine.train.record.tensorboard import TensorBoardLog

WARM_UP = 2


class Epoch:
    """Times the parts, with events, TensorBoard and checkpoints in the run's folder. The journal prints to stdout."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        summary = read_summary(trial.run)
        assert summary is not None
        journal = Journal(trial.run, summary, attempt=1)
        board = TensorBoardLog(trial.run.tensorboard, purge_step=1)
        gauge, log_every = MemoryGauge(trial.device), trial.preset.train.log_every
        self.recorder = Recorder(journal, gauge, board, log_every, Ranks(), trial.probes())
        self.checkpointer = Checkpointer(
            trial.run, trial.state, self.recorder, every=("epochs", 1), experiment="", ranks=Ranks()
        )
        self.at = Progress()

    def training(self, seconds: float) -> dict[str, float]:
        """Mean seconds of a step including the fetch of its batch, and of the fetch alone, measured for `seconds`."""
        trial, recorder = self.trial, self.recorder
        batches = endless(trial.feed.train)
        for images, labels in itertools.islice(batches, WARM_UP):
            trial.take(images, labels)
        recorder.begin()
        started, fetching, steps = trial.clock(), 0.0, 0
        while steps < 3 or time.perf_counter() - started < seconds:
            asked = time.perf_counter()
            images, labels = next(batches)
            fetching += time.perf_counter() - asked
            recorder.fetched()
            with recorder.probes.watch(self.at.step + 1):
                out = trial.take(images, labels)
            self.at = Progress(self.at.step + 1, 0, self.at.position + 1)
            recorder.step(self.at, out, images, labels, 0.0)
            recorder.probes.measure(self.at.step)
            if recorder.due():
                recorder.drain()
            steps += 1
        return {"seconds": (trial.clock() - started) / steps, "data_seconds": fetching / steps, "steps": steps}

    def fetching_s(self, seconds: float) -> float:
        """Mean seconds of fetching a batch, without training."""
        batches = endless(self.trial.feed.train)
        next(batches)
        started, fetched = self.trial.clock(), 0
        while fetched < 1 or time.perf_counter() - started < seconds:
            next(batches)
            fetched += 1
        return (self.trial.clock() - started) / fetched

    def evaluation_s(self, batch: int, seconds: float) -> float:
        """Mean seconds of evaluating a batch of the preset's size, extrapolated from `batch` images.

        If there is an average of the weights, it is in their place, as in the second evaluation of such a run.
        """
        trial, average = self.trial, self.trial.state.average
        model, method = trial.state.model, trial.method()
        with nullcontext() if average is None else average.applied():
            images, _ = next(iter(trial.feed.validation))
            method.predict(model, first_images(images, batch))
            started, done = trial.clock(), 0
            while done < 1 or time.perf_counter() - started < seconds:
                for images, _ in trial.feed.validation:
                    method.predict(model, first_images(images, batch))
                    done += 1
                    if time.perf_counter() - started > seconds:
                        break
            return (trial.clock() - started) / done * trial.preset.data.batch_size / batch

    def end_s(self) -> float:
        """Seconds for recording an evaluation and saving a best checkpoint, measured the second time."""
        for number in (1, 2):
            started = self.trial.clock()
            self.recorder.drain()
            self.at = Progress(self.at.step + 1, self.at.epoch + 1)
            result = {"loss": 0.0, "top1": number / 2, "top5": 1.0, "samples": 1, "split": "test", "top1_by_step": []}
            self.checkpointer.save(self.at, best=self.recorder.validation(self.at, result))
        return self.trial.clock() - started
