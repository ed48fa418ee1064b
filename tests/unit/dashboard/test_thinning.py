"""A long curve, thinned as it grows, against the whole of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_tui.charts import thinning
from rbp_tui.charts.model import ChartModel
from rbp_tui.charts.raster import extremes, showable
from rbp_tui.charts.series import Series
from rbp_tui.charts.smoothing import smoothed
from rbp_tui.charts.thinning import thinned


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(thinning, "_BLOCKS", 32)
    monkeypatch.setattr(thinning, "_MANY", 128)


def values(count, seed):
    """Noise around 1 with values of all signs, holes and infinities."""
    draw = np.random.default_rng(seed)
    y = draw.normal(1.0, 1.0, count)
    y[draw.random(count) < 0.1] = np.nan
    y[draw.random(count) < 0.01] = np.inf
    return y


@settings(deadline=None)
@given(
    st.lists(st.integers(129, 2000), min_size=1, max_size=5).map(sorted),
    st.sampled_from([0.0, 0.5, 0.95]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_a_curve_that_grew_is_the_same_as_one_that_came_at_once_and_its_line_that_of_all_points(
    counts, smoothing, log, seed
):
    x, y = np.arange(float(counts[-1])), values(counts[-1], seed)
    grown = None
    for count in counts:
        grown = thinned(x[:count], y[:count], smoothing, log, grown)
    whole = thinned(x, y, smoothing, log, None)
    assert grown.points.tolist() == whole.points.tolist()
    assert np.allclose(grown.line, whole.line, equal_nan=True)
    assert np.allclose(whole.line, smoothed(x, y, smoothing, log=log)[whole.points], equal_nan=True)
    shown, line = showable(y, log=log), showable(smoothed(x, y, smoothing, log=log), log=log)
    for one in (shown, line):
        held, known = one[whole.points], np.isfinite(one)
        assert held[np.isfinite(held)].min() == one[known].min()
        assert held[np.isfinite(held)].max() == one[known].max()
    assert (counts[-1] - 1) in whole.points


def test_few_points_are_not_thinned_nor_those_whose_x_goes_back():
    x = np.arange(200.0)
    assert thinned(x[:128], x[:128], 0.0, False, None) is None
    assert thinned(np.roll(x, 1), x, 0.0, False, None) is None
    grown = thinned(x[:150], x[:150], 0.0, False, None)
    x[190] = 3.0
    assert thinned(x, x, 0.0, False, grown) is None


def test_values_from_another_place_are_thinned_anew():
    x = np.arange(1000.0)
    before = thinned(x[:999], x[:999], 0.0, False, None)
    assert thinned(x, -x, 0.0, False, before).line.tolist() == (-x)[thinned(x, -x, 0.0, False, None).points].tolist()


def test_what_is_drawn_of_a_thinned_curve_is_what_is_drawn_of_the_whole_but_for_blocks_at_the_edges_of_columns():
    x = np.arange(4096.0)
    y = np.random.default_rng(0).normal(size=4096)
    model = ChartModel()
    model.set_series([Series("loss", "loss", x, y, scale=100.0)])
    (thin,) = model.curves
    model.view = (0.0, 4095.0)
    (whole,) = model.curves
    assert (len(whole.x), len(thin.x) < 500) == (4096, True)
    narrow, wide = (extremes(curve.x, curve.line, model.x_axis(), 9) for curve in (thin, whole))
    assert np.all(narrow.low >= wide.low)
    assert np.all(narrow.high <= wide.high)
    within = 100.0 * y[256:-256].reshape(7, 512)[:, 128:-128]  # of each column but the outer ones, without its edges
    assert np.all(narrow.low[1:8] <= within.min(axis=1))
    assert np.all(narrow.high[1:8] >= within.max(axis=1))


def test_zoomed_in_a_long_curve_has_all_its_points_and_zoomed_out_few_again():
    x = np.arange(5000.0)
    model = ChartModel()
    model.set_series([Series("loss", "loss", x, x)])
    assert len(model.curves[0].x) < 500
    assert model.zoom(0.5)
    assert len(model.curves[0].x) == 5000
    model.reset()
    assert len(model.curves[0].x) < 500
