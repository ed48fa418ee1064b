import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.charts.smoothing import smoothed, smoothed_band, spacing

factors = st.floats(0.01, 0.99)
places = st.lists(st.floats(0, 1e4).map(lambda value: round(value, 2)), min_size=2, max_size=200).map(sorted)


def by_definition(x, y, factor, log):
    """The weighted mean of each value, straight from the definition; on a log axis it is geometric."""
    means, y = [], np.log(y) if log else y
    for number in range(len(x)):
        weights = factor ** ((x[number] - x[: number + 1]) / spacing(x))
        known = np.isfinite(y[: number + 1])
        means.append(np.average(y[: number + 1][known], weights=weights[known]) if known[number] else np.nan)
    return np.exp(means) if log else np.array(means)


@given(places, factors, st.booleans(), st.integers(0, 2**32 - 1))
def test_the_average_equals_its_definition_as_a_weighted_mean(x, factor, log, seed):
    draw = np.random.default_rng(seed)
    y = np.exp(draw.normal(size=len(x)))
    y[draw.random(len(x)) < 0.2] = np.nan
    found = smoothed(np.array(x), y, factor, log=log)
    assert np.allclose(found, by_definition(np.array(x), y, factor, log), equal_nan=True)


def test_a_long_series_neither_overflows_nor_underflows():
    x = np.arange(200_000.0)
    assert np.allclose(smoothed(x, np.ones_like(x), 0.01), 1.0)


@given(places, factors, st.booleans(), st.integers(0, 2**32 - 1))
def test_the_line_lies_inside_its_band_on_linear_and_log_axes(x, factor, log, seed):
    draw = np.random.default_rng(seed)
    y = np.exp(draw.normal(0, 3, len(x)))
    spread = draw.uniform(0, 3, len(x)) * y  # of many, the lower edge is below 0
    edges = [y - spread, y + spread]
    for values in (y, *edges):
        values[draw.random(len(x)) < 0.1] = np.nan
    line = smoothed(np.array(x), y, factor, log=log)
    low, high = smoothed_band(np.array(x), y, (edges[0], edges[1]), factor, log=log)
    known = np.isfinite(line)
    assert (known == np.isfinite(y)).all()
    assert (low[known] <= line[known]).all()
    assert (line[known] <= high[known]).all()
    assert np.isnan(low[~known]).all() and np.isnan(high[~known]).all()


def test_on_a_log_axis_what_cannot_be_shown_stays():
    y = np.array([1.0, 0.0, -1.0, 1.0])
    assert np.allclose(smoothed(np.arange(4.0), y, 0.9, log=True), y)


def test_the_usual_distance_ignores_gaps_and_repeated_positions():
    x = np.concatenate((np.arange(30_000.0), [29_999.0] * 5, 1e9 + np.arange(3.0)))
    assert spacing(x) == 1.0
    assert spacing(np.zeros(3)) == 1.0


def test_no_smoothing_changes_nothing():
    x, y = np.arange(3.0), np.array([1.0, np.nan, 2.0])
    assert np.array_equal(smoothed(x, y, 0.0), y, equal_nan=True)
