"""What has happened in a run, from its events."""

import copy
import itertools
from typing import Any

import numpy as np
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
from rbp_engine.run.status.history import HistoryBuilder


def event(t: float, body: object, *, attempt: int = 1, rank: int = 0, step: int = 0) -> Event:
    return Event(0, t, attempt, rank, step, body)  # type: ignore[arg-type]


@st.composite
def attempts(draw: st.DrawFn) -> list[Event]:
    """What several attempts have written, each from a step of its own on, some more than a curve first has room for."""
    events: list[Event] = []

    def write(attempt: int, step: int, body: Any) -> None:
        events.append(Event(len(events), float(len(events)), attempt, 0, step, body))

    for attempt in range(1, draw(st.integers(1, 4)) + 1):
        start, epoch = draw(st.integers(0, 6)), draw(st.none() | st.integers(0, 3))
        write(attempt, start, RunStart(epoch=epoch))
        for step in range(start, start + draw(st.integers(1, 5) | st.just(80))):
            bodies = [
                Metrics(epoch=0, loss=1.0 / (1 + step), top1=0.5, lr=0.1),
                Validation(epoch=step // 2, loss=1.0, top1=step / 100, top5=0.9, samples=10),
                System(rss=1), CheckpointSaved("step"), WarningRaised("w"), ErrorRaised("e"), Heartbeat(),
            ]  # fmt: skip
            body: Any = draw(st.sampled_from(bodies))
            write(attempt, step, body)
        if draw(st.booleans()):
            write(attempt, events[-1].step, RunEnd("stopped"))
    return events


@given(attempts(), st.lists(st.integers(0, 12), max_size=6))
def test_a_history_is_what_still_counts_of_the_events_however_they_come(events: list[Event], cuts: list[int]) -> None:
    builder = HistoryBuilder()
    borders = sorted({0, len(events), *(cut for cut in cuts if cut < len(events))})
    for begin, end in itertools.pairwise(borders):
        builder.add(events[begin:end])
        builder.history()
    history, kept = builder.history(), supersede(events)
    for name, kind in (("train/loss", Metrics), ("validation/top1", Validation), ("memory", System)):
        curve = history.curves.get(name)
        counting = [event.step for event in kept if isinstance(event.body, kind)]
        assert (curve.step.tolist() if curve else []) == counting
    for name, kind in (("loss", Metrics), ("top1", Validation)):
        curve = history.curves.get({"loss": "train/loss", "top1": "validation/top1"}[name])
        counting = [getattr(event.body, name) for event in kept if isinstance(event.body, kind)]
        assert (curve.value.tolist() if curve else []) == counting
    assert list(history.checkpoints) == [event for event in kept if isinstance(event.body, CheckpointSaved)]
    alerts = [event for event in events if isinstance(event.body, (WarningRaised, ErrorRaised))]
    assert list(history.alerts) == alerts
    newest = [event for event in alerts if event.attempt == events[-1].attempt]
    assert history.newest_alert is (newest[-1] if newest else None)
    assert [attempt.number for attempt in history.attempts] == sorted({event.attempt for event in events})


@given(attempts(), st.integers(0, 12))
def test_a_snapshot_stays_as_it_was(events: list[Event], cut: int) -> None:
    builder = HistoryBuilder()
    builder.add(events[:cut])
    before = builder.history()
    curves = [(curve, curve.step.copy(), curve.value.copy()) for curve in before.curves.values()]
    parts = copy.deepcopy((before.alerts, before.checkpoints, before.processes, before.attempts))
    builder.add(events[cut:])
    builder.history()
    for curve, step, value in curves:
        assert np.array_equal(curve.step, step) and np.array_equal(curve.value, value)
    assert (before.alerts, before.checkpoints, before.processes, before.attempts) == parts


def test_the_evaluation_on_the_test_set_after_training_on_a_split_is_no_point_of_the_curve() -> None:
    def evaluated(epoch: int, split: str, weights: str = "last") -> Validation:
        return Validation(epoch, 0.5, 0.9 if split == "test" else 0.8, 1.0, 10, split, weights)

    builder = HistoryBuilder()
    builder.add(event(epoch, evaluated(epoch, "held-out"), step=10 * epoch) for epoch in (1, 2))
    builder.add([event(3.0, evaluated(2, "test"), step=20), event(4.0, evaluated(2, "test", "best"), step=20)])
    history = builder.history()
    assert history.curves["validation/top1"].value.tolist() == [0.8, 0.8]
    assert history.split == "held-out"


def test_the_failure_is_the_first_error_of_the_newest_attempt_by_the_clock_whichever_rank_told_it() -> None:
    builder = HistoryBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(2.0, ErrorRaised("the first attempt's"))])
    builder.add([event(10.0, RunStart(world_size=2), attempt=2)])
    assert builder.history().failure is None
    follows = event(12.0, ErrorRaised("lost its peer"), attempt=2)
    cause = event(11.0, ErrorRaised("out of memory"), attempt=2, rank=1)
    builder.add([follows, cause])
    assert builder.history().failure is cause
    assert [alert.body for alert in builder.history().alerts][-2:] == [follows.body, cause.body]


def test_each_rank_is_known_by_its_newest_events() -> None:
    builder = HistoryBuilder()
    metrics = Metrics(epoch=0, loss=None, top1=None, lr=0.1, step_ms=30.0)
    builder.add(
        [
            event(0.0, RunStart(world_size=2)),
            event(1.0, System(rss=5), rank=1, step=1),
            event(2.0, metrics, rank=1, step=2),
            event(1.5, System(rss=6), rank=1, step=3),
        ]
    )
    first, second = builder.history().processes
    assert (first.rank, first.system) == (0, None)
    assert (second.step, second.seen, second.system, second.metrics) == (3, 2.0, System(rss=6), metrics)


def test_an_attempt_of_fewer_processes_has_no_more_ranks_than_that() -> None:
    builder = HistoryBuilder()
    builder.add([event(0.0, RunStart(world_size=2)), event(1.0, System(rss=5), rank=1)])
    builder.add([event(9.0, RunStart(world_size=1), attempt=2)])
    assert [process.rank for process in builder.history().processes] == [0]


def test_what_a_rank_says_of_others_is_no_failure_once_these_have_spoken() -> None:
    builder = HistoryBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(2.0, ErrorRaised("peer gone", about_others=True))])
    assert builder.history().failure is not None
    cause = event(3.0, ErrorRaised("out of memory"), rank=1)
    builder.add([cause])
    assert builder.history().failure is cause


def test_a_rank_tells_its_speed_and_its_logs_itself() -> None:
    builder = HistoryBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(1.0, RunStart(world_size=2, logs="ranks/x/1"), rank=1)])
    builder.add([event(2.0, System(rss=1, step_ms=30.0, data_ms=3.0), rank=1)])
    _, second = builder.history().processes
    assert (second.logs, second.step_ms, second.data_ms) == ("ranks/x/1", 30.0, 3.0)
