"""What has happened in a run, from the events of its ranks, as they are written, and how long it still needs."""

import copy
import functools
import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    Heartbeat,
    Metrics,
    Probe,
    RunEnd,
    RunStart,
    System,
    Validation,
    WarningRaised,
    supersede,
    to_json,
)
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.history.curves import Curve, CurveBuilder
from rbp_engine.run.history.history import (
    ALERTS_KEPT,
    CHECKPOINTS_KEPT,
    Attempt,
    HistoryBuilder,
    Mark,
    elapsed_s,
)
from rbp_engine.run.history.history_reader import HistoryReader, read_history
from tests.limits import within_limits
from tests.run_files import tell


def event(t: float, body: object, *, attempt: int = 1, rank: int = 0, step: int = 0) -> Event:
    return Event(0, t, attempt, rank, step, body)


@st.composite
def attempts(draw: st.DrawFn) -> list[Event]:
    """What several attempts have written, each from a step of its own on, some more than a curve first has room for."""
    events: list[Event] = []

    def write(attempt: int, step: int, body: Any) -> None:
        events.append(Event(len(events), float(len(events)), attempt, 0, step, body))

    for attempt in range(1, draw(st.integers(1, 4)) + 1):
        start, epoch = draw(st.integers(0, 6)), draw(st.none() | st.integers(0, 3))
        write(attempt, start, RunStart(epoch=epoch))
        kinds = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
        for step in range(start, start + draw(st.integers(1, 5) | st.just(80))):
            bodies = [
                Metrics(epoch=0, loss=1.0 / (1 + step), top1=0.5, lr=0.1),
                Validation(epoch=step // 2, loss=1.0, top1=step / 100, top5=0.9, samples=10),
                System(rss=1), CheckpointSaved("step"), WarningRaised("w"), ErrorRaised("e"), Heartbeat(),
            ]  # fmt: skip
            write(attempt, step, bodies[kinds[step % len(kinds)]])
        if draw(st.booleans()):
            write(attempt, events[-1].step, RunEnd("stopped"))
    return events


@given(attempts(), st.lists(st.integers(0, 100), max_size=6))
def test_a_history_is_what_still_counts_of_the_events_however_they_come(events, cuts):
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
    saved = [event for event in kept if isinstance(event.body, CheckpointSaved)]
    assert list(history.checkpoints) == saved[-CHECKPOINTS_KEPT:]
    alerts = [event for event in events if isinstance(event.body, (WarningRaised, ErrorRaised))]
    assert list(history.alerts) == alerts[-ALERTS_KEPT:]
    newest = [event for event in alerts if event.attempt == events[-1].attempt]
    assert history.newest_alert is (newest[-1] if newest else None)
    assert [attempt.number for attempt in history.attempts] == sorted({event.attempt for event in events})


@given(attempts(), st.integers(0, 100))
def test_a_snapshot_stays_as_it_was(events, cut):
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


def test_the_evaluation_on_the_test_set_after_training_on_a_split_is_no_point_of_the_curve():
    def evaluated(epoch: int, split: str, weights: str = "last") -> Validation:
        return Validation(epoch, 0.5, 0.9 if split == "test" else 0.8, 1.0, 10, split, weights)

    builder = HistoryBuilder()
    builder.add(event(epoch, evaluated(epoch, "held-out"), step=10 * epoch) for epoch in (1, 2))
    builder.add([event(3.0, evaluated(2, "test"), step=20), event(4.0, evaluated(2, "test", "best"), step=20)])
    history = builder.history()
    assert history.curves["validation/top1"].value.tolist() == [0.8, 0.8]
    assert history.split == "held-out"


def test_the_failure_is_the_first_error_of_the_newest_attempt_by_the_clock_whichever_rank_told_it():
    builder = HistoryBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(2.0, ErrorRaised("the first attempt's"))])
    builder.add([event(10.0, RunStart(world_size=2), attempt=2)])
    assert builder.history().failure is None
    about_another = event(10.5, ErrorRaised("peer gone", about_others=True), attempt=2)
    builder.add([about_another])
    assert builder.history().failure is about_another  # until the others have spoken
    follows = event(12.0, ErrorRaised("lost its peer"), attempt=2)
    cause = event(11.0, ErrorRaised("out of memory"), attempt=2, rank=1)
    builder.add([follows, cause])
    assert builder.history().failure is cause
    assert [alert.body for alert in builder.history().alerts][-2:] == [follows.body, cause.body]


def test_each_rank_of_the_newest_attempt_is_known_by_its_newest_events():
    builder = HistoryBuilder()
    metrics = Metrics(epoch=0, loss=None, top1=None, lr=0.1, step_ms=30.0)
    newest = System(rss=6, step_ms=31.0, data_ms=3.0)
    builder.add([event(0.0, RunStart(world_size=2)), event(0.0, RunStart(world_size=2, logs="ranks/x/1"), rank=1)])
    builder.add([event(1.0, System(rss=5), rank=1, step=1), event(2.0, metrics, rank=1, step=2)])
    builder.add([event(1.5, newest, rank=1, step=3)])
    first, second = builder.history().processes
    assert (first.rank, first.system) == (0, None)
    assert (second.step, second.seen, second.system, second.metrics) == (3, 2.0, newest, metrics)
    assert (second.logs, second.step_ms, second.data_ms) == ("ranks/x/1", 31.0, 3.0)
    builder.add([event(3.0, System(rss=5)), event(3.0, metrics), event(9.0, RunStart(world_size=1), attempt=2)])
    [first] = builder.history().processes
    assert (first.rank, first.system, first.metrics) == (0, None, None)  # the process before is gone, and its speed


METRICS = Metrics(epoch=0, loss=0.5, top1=0.5, lr=0.1)


def test_only_what_is_new_is_read_and_ranks_are_found_as_they_come(tmp_path):
    run = RunDirectory(tmp_path)
    reader = HistoryReader(run)
    assert not reader.poll() and reader.history().attempt is None
    tell(run, RunStart(world_size=2), METRICS)
    assert reader.poll() and not reader.poll()
    tell(run, RunStart(world_size=2), System(rss=5), rank=1)
    assert reader.poll()
    history = reader.history()
    assert [process.rank for process in history.processes] == [0, 1]
    assert history.curves["memory/1"].value.tolist() == [5.0]
    assert read_history(run).curves.keys() == {"train/loss", "train/top1", "lr"}


def test_an_attempt_that_one_rank_has_reached_waits_for_the_others(tmp_path):
    """Rank 0 is read to its second attempt while rank 1 has much of the first left."""
    run = RunDirectory(tmp_path)
    tell(run, RunStart(world_size=2), METRICS)
    tell(run, RunStart(world_size=2), attempt=2)
    tell(run, RunStart(world_size=2), *[Heartbeat()] * 3000, System(rss=5), rank=1)
    reader = HistoryReader(run)
    reader.poll(turn_s=-1.0)
    assert reader.behind and [attempt.number for attempt in reader.history().attempts] == [1]
    reader.poll()
    history = reader.history()
    assert [attempt.number for attempt in history.attempts] == [1, 2]
    assert "memory/1" not in history.curves, "the second attempt starts again from step 1"


def test_an_attempt_and_a_rank_of_its_own_in_every_line_take_little_time_and_memory(tmp_path):
    run = RunDirectory(tmp_path)
    run.events().parent.mkdir()
    bodies: list[tuple[bool, Any]] = [(False, RunStart()), (True, System(rss=5)), (False, METRICS), (False, Probe("x"))]
    lines = (to_json(Event(0, 1.0, n, n * ranks, n, body)) for n in range(10_000) for ranks, body in bodies)
    run.events().write_text("".join(f"{line}\n" for line in lines))

    def read(_: None) -> tuple[int, set[str], list[int]]:
        history = read_history(run, first_rank=False)
        return len(read_events(run.events())), {*history.curves}, [one.rank for one in history.processes]

    curves = {"train/loss", "train/top1", "lr", "memory"}  # of rank 0, whose file it is
    assert within_limits(read, [None]) == [(40_000, curves, [0])]


def test_of_some_kinds_only_these_are_parsed(tmp_path):
    run = RunDirectory(tmp_path)
    tell(run, RunStart(), METRICS, Validation(1, 0.5, 0.9, 1.0, 10))
    reader = HistoryReader(run, first_rank=True, kinds=(Validation, RunStart))
    assert reader.poll() and reader.history().curves.keys() == {"validation/loss", "validation/top1"}
    assert reader.skipped_lines == 0


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_read(tmp_path):
    run = RunDirectory(tmp_path)
    tell(run, RunStart(), METRICS)
    loop = run.events(1)
    loop.symlink_to(loop)
    reader = HistoryReader(run)
    assert reader.poll() and [type(error) for error in reader.errors] == [OSError]
    assert "train/loss" in reader.history().curves


def curves_of(*events: Event) -> dict[str, Curve]:
    builder = CurveBuilder()
    for one in events:
        builder.add(one)
    return builder.curves()


def metrics(step: int) -> Metrics:
    return Metrics(epoch=0, loss=1.0 / (1 + step), top1=0.5, lr=0.1)


def test_an_unchanged_curve_is_the_same_object():
    builder = CurveBuilder()
    for body in (metrics(1), System(rss=1)):
        builder.add(event(1.0, body, step=1))
    before = builder.curves()
    builder.add(event(2.0, metrics(2), step=2))
    after = builder.curves()
    assert after["memory"] is before["memory"]
    assert after["train/loss"] is not before["train/loss"]


def test_other_ranks_have_only_memory_curves():
    gpu = System(mem_allocated=5, mem_reserved=6, mem_peak=7)
    others = [event(1.0, body, rank=2, step=1) for body in (metrics(1), gpu)]
    curves = curves_of(event(1.0, metrics(1), step=1), *others)
    assert len(curves["train/loss"]) == 1
    assert {name: curve.value.tolist() for name, curve in curves.items() if name.endswith("/2")} == {
        "memory/2": [5.0], "mem_reserved/2": [6.0], "mem_peak/2": [7.0],
    }  # fmt: skip


def test_a_pause_is_left_out_and_ends_with_the_first_event_of_any_rank_also_where_the_clock_was_set_back():
    begun = RunStart(steps_per_epoch=10)
    for again in ([(0, 5000.0), (1, 5000.2)], [(1, 4999.8), (0, 5000.0)], [(0, 200.0), (1, 200.2)]):
        events = [event(1000.0, begun), event(1010.0, metrics(5), step=5)]
        events += [event(t, begun, attempt=2, rank=rank, step=5) for rank, t in again]
        events += [event(dict(again)[0] + 10.0, metrics(10), attempt=2, step=10)]
        np.testing.assert_allclose(curves_of(*events)["train/loss"].seconds, [10.0, 20.0], atol=0.3)


def test_evaluations_on_held_out_data_replace_those_before_that_did_not_say_what_they_were_on():
    before, after = Validation(1, None, 0.1, None, 10), Validation(2, None, 0.8, None, 10, "held-out")
    assert curves_of(event(1.0, before), event(2.0, after))["validation/top1"].value.tolist() == [0.8]


def test_a_line_has_a_gap_where_events_were_lost_and_only_there():
    """The events of steps 3 and 4 and the evaluation after epoch 2 are lost; that after epoch 1 came before."""

    def validation(epoch: int) -> Validation:
        return Validation(epoch=epoch, loss=1.0, top1=epoch / 10, top5=None, samples=1)

    def told(*rows: tuple[int, int, Metrics | Validation | RunStart | System]) -> dict[str, Curve]:
        return curves_of(*(event(t, body, attempt=n, step=step) for t, (n, step, body) in enumerate(rows, start=100)))

    begun, system = functools.partial(RunStart, steps_per_epoch=2), System(rss=1)
    first = [(1, 0, begun(epoch=0)), (1, 1, metrics(1)), (1, 1, system), (1, 2, metrics(2)), (1, 2, validation(1))]
    after = [(2, 5, metrics(5)), (2, 5, system), (2, 6, metrics(6)), (2, 6, validation(3))]
    lost = told(*first, (2, 4, begun(epoch=2, gap_from=2)), *after)
    assert lost["train/loss"].step.tolist() == [1, 2, 4, 5, 6]
    assert np.isnan(lost["train/loss"].value).tolist() == [False, False, True, False, False]
    assert np.isnan(lost["memory"].value).tolist() == [False, True, False]
    assert lost["validation/top1"].epoch.tolist() == [1, 2, 3]
    assert np.isnan(lost["validation/top1"].value).tolist() == [False, True, False]

    in_mid_epoch = told(*first, (2, 3, begun(epoch=1, gap_from=2)), (2, 4, validation(2)))
    assert in_mid_epoch["validation/top1"].value.tolist() == [0.1, 0.2], "no evaluation is missing"


def attempt(number: int, begun: float, step: int, told: list[tuple[float, int]]) -> Attempt:
    """An attempt that began then, with metrics at these times and steps."""
    made = Attempt(number, Mark(begun, step), begun, RunStart())
    for t, at in told:
        made.add(Event(0, t, number, 0, at, Metrics(epoch=0, loss=1.0, top1=0.5, lr=0.1)))
    return made


def test_the_time_between_attempts_does_not_count_as_elapsed():
    attempts = [attempt(1, 100.0, 0, [(160.0, 50)]), attempt(2, 90_000.0, 50, [(90_030.0, 80)])]
    assert elapsed_s(attempts) == 60.0 + 30.0
    assert elapsed_s(attempts, now=90_040.0) == 60.0 + 40.0


def test_every_rank_is_a_sign_of_life():
    made = attempt(1, 0.0, 0, [(10.0, 10)])
    made.add(Event(0, 20.0, 1, 3, 20, Metrics(epoch=0, loss=None, top1=None, lr=0.1)))
    made.add(Event(0, 15.0, 1, 0, 12, Heartbeat()))
    assert made.last_seen == 20.0


times = st.floats(0, 1e9)


@given(st.lists(st.tuples(times, st.lists(st.tuples(times, st.integers(0, 10**6)), max_size=5)), max_size=4), times)
def test_no_time_is_negative_whatever_the_clocks_do(told, now):
    attempts = [attempt(number, begun, 0, marks) for number, (begun, marks) in enumerate(told, start=1)]
    assert elapsed_s(attempts) >= 0
    assert elapsed_s(attempts, now) >= elapsed_s(attempts)
