"""Missing events of a run before its checkpoint."""

import itertools
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.files.events import Body, Event, Metrics, RunStart, Validation, WarningRaised, to_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.resuming import find_gap

STEPS = 4  # per epoch


def told(start: Progress, end: int, window: int) -> list[tuple[int, Body]]:
    """The events that an attempt writes up to a step."""
    events: list[tuple[int, Body]] = [(start.step, RunStart(epoch=start.epoch))]
    for step in range(start.step + 1, end + 1):
        if step % window == 0:
            events.append((step, Metrics((step - 1) // STEPS, 0.5, 0.5, 0.1)))
        if step % STEPS == 0:
            events.append((step, Validation(step // STEPS, 0.5, 0.5, 0.5, 10)))
    return events


@given(st.integers(1, 5), st.integers(1, 14), st.integers(1, 14), st.booleans(), st.data())
def test_a_gap_is_found_exactly_if_events_before_the_checkpoint_are_missing(window, saved, reached, long, data):
    """Whatever was recorded beyond the checkpoint, before and after an earlier resume, and at the end."""
    events = told(Progress(), reached, window)
    resumed = data.draw(st.integers(0, reached // STEPS))
    events += told(Progress(resumed * STEPS, resumed), max(saved, reached), window)
    kept = events[: data.draw(st.integers(0, len(events)))]
    filler = [(99, WarningRaised("x" * 300_000))] if long else []
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.events().parent.mkdir()
        attempts = itertools.accumulate(isinstance(body, RunStart) for _, body in [*kept, *filler])
        lines = [
            to_json(Event(0, 1.0, attempt, 0, step, body))
            for attempt, (step, body) in zip(attempts, [*kept, *filler], strict=True)
        ]
        run.events().write_text("".join(f"{line}\n" for line in lines))
        gap = find_gap(run, Progress(saved, saved // STEPS, saved % STEPS), window)

    counts: set[tuple[type, int]] = set()
    for step, body in kept:
        if isinstance(body, RunStart):
            counts = {one for one in counts if one[1] <= step}
        else:
            counts.add((type(body), step))
    wanted = {(Metrics, step) for step in range(1, saved + 1) if step % window == 0}
    wanted |= {(Validation, step) for step in range(1, saved + 1) if step % STEPS == 0}
    newest = max((step for kind, step in counts if kind is Metrics and step <= saved), default=0)
    assert gap == (None if wanted <= counts else newest)
