"""Numbers as text, and as lines of blocks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.text import format as fmt
from rbp_tui.text.format import BLOCKS, sparkline

known = st.floats(-1e9, 1e9)
values = st.lists(st.none() | known | st.just(math.nan), max_size=80)
widths = st.integers(0, 50)


@given(values, values, widths)
def test_equally_many_values_give_equally_long_lines(one, other, width):
    count = min(len(one), len(other))
    lines = [sparkline(values[:count], width) for values in (one, other)]
    assert len(lines[0]) == len(lines[1]) == min(count, width)


@given(values, known, known)
def test_on_a_common_scale_equal_values_have_equal_blocks(shown, one, other):
    low, high = sorted((one, other))
    whole = sparkline(shown, len(shown), low=low, high=high)
    assert whole == "".join(sparkline([value], 1, low=low, high=high) for value in shown)


def test_values_that_are_missing_leave_a_gap():
    assert sparkline([0.0, None, math.nan, 1.0], 10) == "▁  █"
    assert sparkline([None, None], 10) == "  "
    assert sparkline([0.0, 0.0, None, None, 1.0, None], 3) == "▁ █"


def test_a_line_reaches_from_the_lowest_to_the_highest_block():
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8) == BLOCKS
    assert sparkline([5.0, 5.0], 8) == "▄▄"
    assert sparkline([0.5], 1, low=0.0, high=1.0) == "▅"
    assert sparkline([-1.0, 2.0], 2, low=0.0, high=1.0) == "▁█"


@pytest.mark.parametrize(("difference", "text"), [(-1e-17, "+0.00"), (0.0, "+0.00"), (-0.0005, "−0.05")])
def test_no_difference_has_one_sign(difference, text):
    assert fmt.points(difference) == text
