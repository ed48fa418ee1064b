import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    Heartbeat,
    Metrics,
    RunEnd,
    RunStart,
    System,
    Validation,
    WarningRaised,
    supersede,
)
from rbp_engine.run.status.history import History

LISTS: dict[str, tuple[type, ...]] = {
    "metrics": (Metrics,),
    "validations": (Validation,),
    "system": (System,),
    "checkpoints": (CheckpointSaved,),
    "alerts": (WarningRaised, ErrorRaised),
}


@st.composite
def attempts(draw: st.DrawFn) -> list[Event]:
    """The events of several attempts, each of which starts at its own step."""
    events: list[Event] = []

    def write(attempt: int, step: int, body: Any) -> None:
        events.append(Event(len(events), float(len(events)), attempt, 0, step, body))

    for attempt in range(1, draw(st.integers(1, 4)) + 1):
        start, epoch = draw(st.integers(0, 6)), draw(st.none() | st.integers(0, 3))
        write(attempt, start, RunStart(epoch=epoch))
        for step in range(start, start + draw(st.integers(1, 5))):
            body: Any = draw(
                st.sampled_from(
                    [
                        Metrics(epoch=0, loss=1.0, top1=0.5, lr=0.1),
                        Validation(epoch=step // 2, loss=1.0, top1=0.5, top5=0.9, samples=10),
                        System(rss=1), CheckpointSaved("step"), WarningRaised("w"), ErrorRaised("e"), Heartbeat(),
                    ]
                )
            )  # fmt: skip
            write(attempt, step, body)
        if draw(st.booleans()):
            write(attempt, events[-1].step, RunEnd("stopped"))
    return events


@given(attempts(), st.lists(st.integers(0, 12), max_size=6))
def test_the_history_has_the_events_that_still_count_in_any_portions(events: list[Event], cuts: list[int]) -> None:
    history = History()
    borders = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    for begin, end in itertools.pairwise(borders):
        history.add(events[begin:end])
    kept = supersede(events)
    for name, kinds in LISTS.items():
        assert getattr(history, name) == [event for event in kept if isinstance(event.body, kinds)]
    assert [event.attempt for event in history.starts] == sorted({event.attempt for event in events})


def test_the_end_of_an_attempt_is_dropped_once_the_next_has_begun() -> None:
    history = History()
    history.add([Event(0, 0.0, 1, 0, 0, RunStart()), Event(1, 1.0, 1, 0, 5, RunEnd("stopped"))])
    assert history.end == RunEnd("stopped")
    history.add([Event(2, 2.0, 2, 0, 5, RunStart())])
    assert history.end is None
