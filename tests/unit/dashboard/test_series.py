import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.series import ChartCurve, Series

numbers = st.floats(-1e6, 1e6)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="series 'loss'"):
        Series("loss", "loss", np.arange(3.0), np.arange(4.0))


@given(st.lists(numbers, min_size=1, max_size=50), numbers)
def test_the_nearest_point_is_found(places, x):
    curve = ChartCurve(Series("a", "a", np.array(places), np.zeros(len(places))), 0.0)
    index = curve.nearest(x)
    assert index is not None
    assert abs(curve.x[index] - x) == min(abs(place - x) for place in places)


def test_the_nearest_point_has_a_value():
    curve = ChartCurve(Series("a", "a", np.arange(4.0), np.array([1.0, np.nan, np.nan, 2.0])), 0.0)
    assert curve.nearest(1.1) == 0
    assert ChartCurve(Series("a", "a", np.arange(2.0), np.full(2, np.nan)), 0.0).nearest(1.0) is None


def test_points_are_sorted_and_those_without_x_left_out():
    curve = ChartCurve(Series("a", "a", np.array([3.0, np.nan, 1.0]), np.array([30.0, 20.0, 10.0])), 0.0)
    assert curve.x.tolist() == [1.0, 3.0]
    assert curve.y.tolist() == [10.0, 30.0]


def test_the_best_value_is_that_of_the_unsmoothed_data():
    series = Series("a", "a", np.arange(5.0), np.array([3.0, 1.0, np.nan, 9.0, 1.0]), marker="lowest")
    assert ChartCurve(series, 0.9).best == 1
    assert ChartCurve(Series("a", "a", series.x, series.y, marker="highest"), 0.0).best == 3
    assert ChartCurve(Series("a", "a", series.x, series.y), 0.0).best is None


def test_unchanged_parts_are_not_computed_again():
    model = ChartModel()
    x = np.arange(5.0)
    model.set_series([Series("a", "a", x, x), Series("b", "b", x, x)])
    first = list(model.curves)
    assert not model.set_series([Series("a", "a", x.copy(), x.copy()), Series("b", "b", x, x)])
    assert model.curves == first
    assert model.set_series([Series("a", "a", x, x), Series("b", "b", x, x + 1)])
    assert model.curves[0] is first[0]
    assert model.curves[1] is not first[1]


def test_smoothing_does_not_depend_on_the_view():
    model = ChartModel()
    x = np.arange(500.0)
    model.set_series([Series("a", "a", x, np.random.default_rng(0).normal(size=500))])
    model.smooth(0.9)
    line = model.curves[0].line.copy()
    for _ in range(5):
        model.zoom(0.5)
    model.set_series([model.curves[0].series])
    assert model.view is not None
    assert (model.curves[0].line == line).all()


def test_the_cursor_steps_to_the_next_point_at_least_a_cell_away():
    model = ChartModel()
    x = np.array([0.0, 1.0, 2.0, 50.0, 100.0])
    model.set_series([Series("a", "a", x, x)])
    visited = []
    for _ in range(4):
        model.step_cursor(-1, 0.02)
        visited.append(model.cursor)
    assert visited == [100.0, 50.0, 2.0, 0.0]
    assert not model.step_cursor(-1, 0.02)
    model.step_cursor(1, 0.02)
    assert model.cursor == 2.0
