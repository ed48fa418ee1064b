import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.raster import band_dots, extent, extremes, line_dots, showable

ROWS, COLUMNS = 40, 60
MIDDLE_OF_A_DOT = 0.499  # points close to a dot's edge may round either way

values = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
points = st.lists(st.tuples(values, values), min_size=1, max_size=60)


def sorted_points(pairs):
    x, y = np.array(sorted(pairs), dtype=np.float64).T
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def drawn(x, y, x_axis, y_axis):
    columns = extremes(x, showable(y, log=y_axis.log), x_axis, COLUMNS, log=y_axis.log)
    return line_dots(columns, y_axis, ROWS)


def expect_lit(dots, x, y, x_axis, y_axis):
    """Check, point by point, that every point in the view has its dot."""
    for one_x, one_y in zip(x, y, strict=True):
        if not (x_axis.low <= one_x <= x_axis.high and y_axis.low <= one_y <= y_axis.high):
            continue
        column = x_axis.position(one_x) * (COLUMNS - 1)
        row = (1 - y_axis.position(one_y)) * (ROWS - 1)
        if abs(column - round(column)) < MIDDLE_OF_A_DOT and abs(row - round(row)) < MIDDLE_OF_A_DOT:
            assert dots[round(row), round(column)]


@given(points, values, values, st.booleans())
def test_every_point_in_the_view_lights_its_dot(pairs, low, high, whole):
    x, y = sorted_points(pairs)
    x_axis = Axis.spanning(x[0], x[-1]) if whole else Axis.spanning(*sorted((low, high)))
    y_axis = Axis.spanning(float(y.min()), float(y.max()))
    expect_lit(drawn(x, y, x_axis, y_axis), x, y, x_axis, y_axis)


@given(points, st.booleans())
def test_on_log_axes_every_positive_point_lights_its_dot(pairs, x_log):
    x, y = sorted_points(pairs)
    shown = (y > 0) & ((x > 0) | (not x_log))
    assume(shown.any())
    x_axis = Axis.spanning(float(x[shown].min()), float(x[shown].max()), log=x_log)
    y_axis = Axis.spanning(float(y[shown].min()), float(y[shown].max()), log=True)
    expect_lit(drawn(x, y, x_axis, y_axis), x[shown], y[shown], x_axis, y_axis)


@given(st.integers(2_000, 20_000), st.integers(0, 2**32 - 1))
def test_a_single_spike_among_many_points_is_never_lost(count, seed):
    draw = np.random.default_rng(seed)
    x, y = np.arange(count, dtype=np.float64), draw.uniform(0.4, 0.6, count)
    up, down = draw.choice(count, 2, replace=False)
    y[up], y[down] = 1.0, 0.0
    dots = drawn(x, y, Axis(0, count - 1), Axis(0, 1))
    assert dots[0].sum() == 1
    assert dots[-1].sum() == 1


@given(points)
def test_points_are_joined_without_a_hole(pairs):
    x, y = sorted_points(pairs)
    assume(x[0] < x[-1])
    dots = drawn(x, y, Axis.spanning(x[0], x[-1]), Axis.spanning(float(y.min()), float(y.max())))
    assert dots.any(axis=0).all()
    for before, after in zip(dots.T[:-1], dots.T[1:], strict=True):
        # Each column's dots touch those of the next, including at corners.
        wide = before | np.roll(before, 1) | np.roll(before, -1)
        assert (wide & after).any()


def test_values_that_cannot_be_shown_leave_a_gap():
    x = np.arange(6, dtype=np.float64)
    for nothing, log in ((np.nan, False), (np.inf, False), (-np.inf, False), (0.0, True), (-3.0, True)):
        y = np.array([1, 1, nothing, nothing, 10, 10])
        dots = drawn(x, y, Axis(0, 5), Axis(1, 10, log=log))
        assert np.flatnonzero(dots.any(axis=0)).max() == COLUMNS - 1
        assert not dots[:, 13:46].any()
        assert dots[-1, :12].all()
        assert dots[0, 48:].all()


def test_the_line_between_two_points_is_drawn_when_zoomed_between_them():
    x, y = np.array([0.0, 10.0]), np.array([0.0, 10.0])
    dots = drawn(x, y, Axis(4, 6), Axis(4, 6))
    assert dots.any(axis=0).all()
    assert extent(x, y, Axis(4, 6)) == (4.0, 6.0)


def test_a_line_between_two_points_is_straight_on_a_log_axis():
    x, y = np.array([0.0, 2.0]), np.array([1.0, 10_000.0])
    columns = extremes(x, y, Axis(0, 2), 3, log=True)
    assert np.isclose(columns.low[1], 100.0)


def test_values_above_and_below_the_view_are_not_drawn():
    x = np.arange(COLUMNS, dtype=np.float64)
    dots = drawn(x, np.where(x < 30, -1e300, 1e300), Axis(0, COLUMNS - 1), Axis(0, 1))
    assert dots.any(axis=0).sum() <= 2


def test_a_band_below_a_log_axis_is_drawn_to_the_edge():
    x = np.arange(COLUMNS, dtype=np.float64)
    axis = Axis(0, COLUMNS - 1)
    edges = (showable(np.full(COLUMNS, edge), log=True) for edge in (-1.0, 10.0))
    low, high = (extremes(x, edge, axis, COLUMNS, log=True) for edge in edges)
    assert band_dots(low.low, high.high, Axis(0.1, 10, log=True), ROWS).all()


def test_no_points_draw_nothing():
    nothing = np.empty(0)
    assert not drawn(nothing, nothing, Axis(0, 1), Axis(0, 1)).any()
    assert extent(nothing, nothing, Axis(0, 1)) is None
    gaps = np.full(3, np.nan)
    assert extent(np.arange(3.0), gaps, Axis(0, 2)) is None
