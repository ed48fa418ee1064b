"""Find events that are lost although a later checkpoint exists: a power loss takes what had not reached the disk."""

from rbp_engine.run.files.event_reader import read_events, read_last_events
from rbp_engine.run.files.events import Metrics, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.checkpoints.checkpoint import Progress


def find_gap(run: RunDirectory, at: Progress, window_steps: int) -> int | None:
    """The step after which events of rank 0 up to `at` are missing; None if none are.

    There are metrics once every `window_steps` steps, and an evaluation after every epoch.
    """
    step = 0
    for read in (read_last_events, read_events):  # events beyond `at` may fill the end of the file
        events = read(run.events())
        steps = [event.step for event in events if isinstance(event.body, Metrics) and event.step <= at.step]
        epochs = [event.body.epoch for event in events if isinstance(event.body, Validation)]
        step = max(steps, default=0)
        if step >= at.step - at.step % window_steps and (not at.epoch or at.epoch in epochs):
            return None
    return step
