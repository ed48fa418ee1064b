"""Events that a checkpoint has outlived: a power loss takes what was written and had not reached the disk."""

from dataclasses import dataclass

from rbp_engine.run.events import Event, EventReader, Metrics, RunStart, Validation, read_last_events
from rbp_engine.run.layout import RunDirectory
from rbp_engine.train.checkpoint import Progress


@dataclass
class Told:
    """How far the events of a run tell of it: the last step with metrics, the last epoch with an evaluation."""

    step: int = 0
    epoch: int = 0

    def hear(self, event: Event, at: Progress) -> None:
        """Take in an event; what lies beyond `at` does not count."""
        if isinstance(event.body, RunStart):
            self.step, self.epoch = min(self.step, event.step), min(self.epoch, event.body.epoch or 0)
        elif isinstance(event.body, Metrics) and event.step <= at.step:
            self.step = max(self.step, event.step)
        elif isinstance(event.body, Validation) and event.body.epoch <= at.epoch:
            self.epoch = max(self.epoch, event.body.epoch)

    def reaches(self, at: Progress, window_steps: int) -> bool:
        """Whether nothing is missing before `at`, where metrics come once in so many steps."""
        return self.step >= at.step - at.step % window_steps and self.epoch >= at.epoch


def find_gap(run: RunDirectory, at: Progress, window_steps: int) -> int | None:
    """The step after which the events of rank 0 miss something up to `at`; None where nothing is missing."""
    told = Told()
    for event in read_last_events(run.events()):
        told.hear(event, at)
    if told.reaches(at, window_steps):
        return None
    for event in EventReader(run.events()).poll():  # what lies beyond `at` may fill the end of the file
        told.hear(event, at)
    return None if told.reaches(at, window_steps) else told.step
