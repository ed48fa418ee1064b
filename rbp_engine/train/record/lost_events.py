"""Find events that are lost although a later checkpoint exists: a power loss takes what had not reached the disk."""

from rbp_engine.run.files.events import Event, Metrics, RunStart, Validation, read_events, read_last_events
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.checkpoints.checkpoint import Progress


class Told:
    """How far the events of a run reach, up to a checkpoint: steps with metrics, and epochs with an evaluation."""

    def __init__(self, at: Progress) -> None:
        self.at = at
        self._steps = [0]
        self._epochs = [0]

    def hear(self, event: Event) -> None:
        """Update from an event; a later attempt drops what it repeats."""
        if isinstance(event.body, RunStart):
            self._steps = [step for step in self._steps if step <= event.step]
            self._epochs = [epoch for epoch in self._epochs if epoch <= (event.body.epoch or 0)]
        elif isinstance(event.body, Metrics) and event.step <= self.at.step:
            self._steps.append(event.step)
        elif isinstance(event.body, Validation) and event.body.epoch <= self.at.epoch:
            self._epochs.append(event.body.epoch)

    @property
    def step(self) -> int:
        """The last step with metrics."""
        return max(self._steps)

    def is_complete(self, window_steps: int) -> bool:
        """Whether nothing is missing at the end, with metrics once every `window_steps` steps."""
        at = self.at
        return self.step >= at.step - at.step % window_steps and max(self._epochs) >= at.epoch


def find_gap(run: RunDirectory, at: Progress, window_steps: int) -> int | None:
    """The step after which events of rank 0 up to `at` are missing; None if none are."""
    for events in (read_last_events, read_events):  # events beyond `at` may fill the end of the file
        told = Told(at)
        for event in events(run.events()):
            told.hear(event)
        if told.is_complete(window_steps):
            return None
    return told.step
