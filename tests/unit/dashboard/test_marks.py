import numpy as np

from rbp_engine.run.files.events import Event, Metrics, RunStart
from rbp_engine.run.history.history import HistoryBuilder
from rbp_tui.charts.series import XMark
from rbp_tui.dashboard.monitor.marks import compilations, resumes


def history(*attempts):
    """Attempts from a step on, with the milliseconds per step, and of it for data, of every ten steps; 20 an epoch."""
    builder, t = HistoryBuilder(), 0.0
    for number, (step, measured) in enumerate(attempts, start=1):
        builder.add([Event(0, t, number, 0, step, RunStart(steps_per_epoch=20, epoch=step // 20))])
        for place, (step_ms, data_ms) in enumerate(measured, start=1):
            t += step_ms * 10 / 1000
            metrics = Metrics(0, 1.0, 0.5, 0.1, step_ms=step_ms, data_ms=data_ms)
            builder.add([Event(0, t, number, 0, step + 10 * place, metrics)])
        t += 1000.0
    return builder.history()


USUAL = [(20.0, 1.0)] * 6


def test_a_resumed_run_is_marked_where_it_went_on():
    seen = history((0, USUAL), (40, USUAL))
    assert resumes(seen.curves, seen.attempts, "step") == [XMark(40.0, "resume")]
    assert resumes(seen.curves, seen.attempts, "epoch") == [XMark(2.0, "resume")]
    (mark,) = resumes(seen.curves, seen.attempts, "time")
    assert np.isclose(mark.x, 0.8)
    assert not resumes(*[(one := history((0, USUAL))).curves, one.attempts, "step"])
    assert not resumes({}, seen.attempts, "step")


def test_slow_first_steps_of_each_attempt_are_marked_as_compiling():
    seen = history((0, [(2000.0, 1.0), *USUAL]), (70, [(900.0, 1.0), *USUAL]), (140, USUAL))
    marks = compilations(seen.curves, seen.attempts, "step")
    assert marks == [XMark(10.0, "compile"), XMark(80.0, "compile")]


def test_slow_steps_later_or_for_lack_of_data_are_not_compiling():
    later = history((0, [*USUAL, (2000.0, 1.0), *USUAL]))
    waiting = history((0, [(2000.0, 1990.0), *USUAL]))
    few = history((0, [(2000.0, 1.0), (20.0, 1.0)]))
    for seen in (later, waiting, few):
        assert not compilations(seen.curves, seen.attempts, "step")
