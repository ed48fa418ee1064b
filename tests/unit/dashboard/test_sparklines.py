"""The lines of accuracies in the table of runs."""

import math

from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.dashboard.reading.sparklines import Trend, common_scales, sparkline

VALUES = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=60)


def trend(values, metric="top1"):
    return Trend(metric, tuple(float(epoch) for epoch in range(1, len(values) + 1)), tuple(values))


@given(VALUES, st.integers(1, 300), st.integers(1, 40))
def test_a_line_fills_the_part_of_its_width_that_is_done(values, more, width):
    done, planned = len(values), len(values) + more
    assert len(sparkline(trend(values), planned, width, (0.0, 1.0))) == math.ceil(width * done / planned)
    assert len(sparkline(trend(values), done, width, (0.0, 1.0))) == width


@given(VALUES)
def test_an_evaluation_without_a_value_is_a_gap(values):
    drawn = sparkline(trend(values), len(values), len(values), (0.0, 1.0))
    assert [character == " " for character in drawn] == [value is None for value in values]


def test_lines_share_the_range_of_all_that_measure_the_same():
    trends = [trend([0.31, 0.5]), trend([0.4, None, 0.92]), trend([3.0, 1.0], "loss")]
    assert common_scales(trends) == {"top1": (0.3, 1.0), "loss": (1.0, 3.0)}
    assert common_scales([Trend()]) == {}
    assert sparkline(trends[0], 2, 2, (0.3, 1.0)) == "▁▃" and sparkline(trends[2], 4, 4, (1.0, 3.0)) == "▇▁"
