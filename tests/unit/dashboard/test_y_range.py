import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.series import ChartCurve, Series
from rbp_tui.charts.y_range import YRange, most_left_out, y_range

magnitudes = st.integers(-9, 9).map(lambda power: 10.0**power)
values = st.lists(st.floats(0.1, 10) | magnitudes, min_size=1, max_size=120)
logs = st.booleans()


def curve(y, *, log=False, smoothing=0.0, marker=False):
    y = np.array(y, dtype=np.float64)
    series = Series("a", "a", np.arange(float(len(y))), y, marker="lowest" if marker else None)
    return ChartCurve(series, smoothing, log=log)


def shown(*curves, log=False, everything=False):
    return y_range(curves, Axis(0.0, 1e6), log=log, everything=everything)


@given(st.lists(values, min_size=1, max_size=3), logs)
def test_at_most_a_tenth_of_each_curve_is_left_out_and_never_its_last_or_best_value(several, log):
    found = shown(*(curve(one, log=log, marker=True) for one in several), log=log)
    for one in several:
        y = np.array(one)
        assert np.count_nonzero((y < found.low) | (y > found.high)) <= most_left_out(len(y))
        assert found.low <= y[-1] <= found.high
        assert found.low <= y.min()


@given(values, logs)
def test_everything_is_shown_if_nothing_is_left_out_or_if_asked_for(one, log):
    whole = shown(curve(one, log=log), log=log, everything=True)
    assert whole == YRange(min(one), max(one))
    found = shown(curve(one, log=log), log=log)
    assert found.clipped == ((found.low, found.high) != (whole.low, whole.high))


@given(values, logs)
def test_leaving_out_makes_the_range_much_smaller(one, log):
    found, whole = shown(curve(one, log=log), log=log), shown(curve(one, log=log), log=log, everything=True)
    if found.clipped:
        scale = np.log if log else np.array
        heights = [np.subtract(*scale([ends.high, ends.low])) for ends in (found, whole)]
        assert heights[0] <= 0.75 * heights[1] * (1 + 1e-9)


@given(st.integers(3_000, 30_000), st.integers(0, 2**32 - 1))
def test_very_many_points_follow_the_same_rule(count, seed):
    draw = np.random.default_rng(seed)
    y = draw.normal(0, 1, count)
    y[draw.random(count) < 0.02] = 1e6
    found = shown(curve(y))
    assert found.clipped or y[-1] == 1e6
    assert np.count_nonzero((y < found.low) | (y > found.high)) <= count // 10


def test_the_first_epoch_is_left_out_where_later_ones_are_close():
    accuracy = [37.8, 97.5, 98.1, 99.2, 99.4, 99.2, 99.4, 99.4]
    assert shown(curve(accuracy)) == YRange(97.5, 99.4, clipped=True)
    assert not shown(curve([10.0, 40.0, 60.0, 75.0, 85.0, 90.0])).clipped
    assert not shown(curve([37.8, 98.1, 98.1])).clipped


def test_points_that_stand_for_runs_are_all_shown():
    y = np.array([1.0, 1.1, 1.2, 1.1, 1.0, 100.0])
    runs = ChartCurve(Series("a", "a", np.arange(6.0), y, points=True), 0.0)
    assert shown(runs) == YRange(1.0, 100.0)


def test_zooming_in_on_an_outlier_shows_it():
    one = curve([2000.0, *[20.0] * 50])
    assert y_range([one], Axis(0.0, 2.0), log=False) == YRange(20.0, 2000.0)
    assert y_range([one], Axis(0.0, 50.0), log=False) == YRange(20.0, 20.0, clipped=True)


@pytest.mark.parametrize("log", [False, True])
def test_the_single_values_behind_a_smoothed_line_are_in_the_range(log):
    y = np.tile([1.0, 3.0], 50)
    found = shown(curve(y, log=log, smoothing=0.99), log=log)
    assert (found.low, found.high) == (1.0, 3.0)
