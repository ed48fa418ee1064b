import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.charts.axis import Axis
from rbp_tui.charts.plot import NOBODY, Canvas, plot, read
from rbp_tui.charts.raster import braille, extremes, line_dots
from rbp_tui.charts.series import ChartCurve, Series

ROWS, COLUMNS = 8, 30
X = np.arange(60.0)
CANVAS = Canvas(Axis(0, 59), Axis(0, 100), ROWS, COLUMNS)

heights = st.lists(st.floats(0, 100), min_size=60, max_size=60).map(np.array)


def curve(y, *, smoothing=0.0, emphasis=False):
    return ChartCurve(Series("a", "a", X, y, emphasis=emphasis), smoothing)


def pattern(y):
    dots = line_dots(extremes(X, y, CANVAS.x, CANVAS.width), CANVAS.y, CANVAS.height)
    return braille(dots)


@given(heights, heights)
def test_cells_where_two_curves_meet_show_the_dots_of_both(one, other):
    cells = plot([curve(one), curve(other)], [0, 0], CANVAS)
    union = pattern(one) | pattern(other)
    lit = union > 0
    assert (cells.glyphs[lit] == 0x2800 + union[lit].astype(np.uint32)).all()
    assert (cells.owners[lit] >= 0).all()
    assert (cells.owners[~lit] == NOBODY).all()
    for number, y in enumerate((one, other)):
        alone = (pattern(y) > 0) & ~(pattern((other, one)[number]) > 0)
        assert (cells.owners[alone] == number).all()


def test_curves_that_coincide_all_show_their_colour():
    flat = np.full(60, 50.0)
    owners = plot([curve(flat)] * 4, [0] * 4, CANVAS).owners
    owners = owners[owners != NOBODY]
    assert set(owners.tolist()) == {0, 1, 2, 3}
    # The last one is in front.
    assert np.count_nonzero(owners == 3) == COLUMNS / 2


def test_behind_a_smoothed_line_its_values_are_faint():
    noisy = curve(50.0 + 40.0 * np.sin(X * 2.3), smoothing=0.95)
    cells = plot([noisy], [0], CANVAS)
    lit = cells.owners == 0
    line = pattern(noisy.line) > 0
    assert (cells.faint[lit] == ~line[lit]).all()
    assert cells.faint.any()


def test_values_outside_have_signs_at_the_edge_in_the_curve_s_colour():
    y = np.full(60, 50.0)
    y[0], y[30] = 500.0, -500.0
    cells = plot([curve(np.full(60, 10.0)), curve(y)], [0, 0], CANVAS)
    assert chr(cells.glyphs[0, 0]) == "▲" and chr(cells.glyphs[-1, 15]) == "▼"
    assert cells.owners[0, 0] == cells.owners[-1, 15] == 1


def test_the_cursor_of_a_chart_too_narrow_for_a_plot_reads_its_point():
    assert read(curve(X), 5.2, CANVAS.x, columns=0) == 5
