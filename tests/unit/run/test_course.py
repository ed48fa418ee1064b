"""The events of a run besides its curves."""

from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    Metrics,
    Probe,
    RunStart,
    System,
    WarningRaised,
)
from rbp_engine.run.status.timeline import CourseBuilder


def event(t: float, body: object, *, attempt: int = 1, rank: int = 0, step: int = 0) -> Event:
    return Event(0, t, attempt, rank, step, body)  # type: ignore[arg-type]


def test_the_failure_is_the_earliest_error_of_the_newest_attempt_on_any_rank() -> None:
    builder = CourseBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(2.0, ErrorRaised("the first attempt's"))])
    builder.add([event(10.0, RunStart(world_size=2), attempt=2)])
    assert builder.course().failure is None
    follows = event(12.0, ErrorRaised("lost its peer"), attempt=2)
    cause = event(11.0, ErrorRaised("out of memory"), attempt=2, rank=1)
    builder.add([follows, cause])
    assert builder.course().failure is cause
    assert [alert.body for alert in builder.course().alerts][-2:] == [follows.body, cause.body]


def test_checkpoints_and_probes_of_repeated_steps_are_dropped() -> None:
    builder = CourseBuilder()
    for step in (10, 20):
        builder.add(
            [event(step, CheckpointSaved(f"step-{step:08d}"), step=step), event(step, Probe("p", step), step=step)]
        )
    builder.add([event(30.0, RunStart(epoch=1), attempt=2, step=10)])
    course = builder.course()
    assert [kept.step for kept in course.checkpoints] == [10]
    assert [(probed.name, probed.steps, probed.values) for probed in course.probes] == [("p", (10,), (10,))]


def test_each_rank_is_described_by_its_newest_events() -> None:
    builder = CourseBuilder()
    metrics = Metrics(epoch=0, loss=None, top1=None, lr=0.1, step_ms=30.0)
    builder.add(
        [
            event(0.0, RunStart(world_size=2)),
            event(1.0, System(rss=5), rank=1, step=1),
            event(2.0, metrics, rank=1, step=2),
            event(1.5, System(rss=6), rank=1, step=3),
        ]
    )
    first, second = builder.course().processes
    assert (first.rank, first.system) == (0, None)
    assert (second.step, second.seen, second.system, second.metrics) == (3, 2.0, System(rss=6), metrics)


def test_an_attempt_of_fewer_processes_has_fewer_ranks() -> None:
    builder = CourseBuilder()
    builder.add([event(0.0, RunStart(world_size=2)), event(1.0, System(rss=5), rank=1)])
    builder.add([event(9.0, RunStart(world_size=1), attempt=2)])
    assert [process.rank for process in builder.course().processes] == [0]


def test_a_snapshot_does_not_change() -> None:
    builder = CourseBuilder()
    builder.add([event(0.0, RunStart()), event(1.0, WarningRaised("slow"))])
    before = builder.course()
    builder.add([event(5.0, WarningRaised("slower")), event(6.0, System(rss=1))])
    assert len(before.alerts) == 1
    assert before.processes[0].system is None
    assert before.attempts[0].seen == 1.0


def test_an_error_about_other_ranks_gives_way_to_their_own_error() -> None:
    builder = CourseBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(2.0, ErrorRaised("peer gone", about_others=True))])
    assert builder.course().failure is not None
    cause = event(3.0, ErrorRaised("out of memory"), rank=1)
    builder.add([cause])
    assert builder.course().failure is cause


def test_each_rank_reports_its_own_speed_and_logs() -> None:
    builder = CourseBuilder()
    builder.add([event(1.0, RunStart(world_size=2)), event(1.0, RunStart(world_size=2, logs="ranks/x/1"), rank=1)])
    builder.add([event(2.0, System(rss=1, step_ms=30.0, data_ms=3.0), rank=1)])
    _, second = builder.course().processes
    assert (second.logs, second.step_ms, second.data_ms) == ("ranks/x/1", 30.0, 3.0)
