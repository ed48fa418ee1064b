import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_tui.text.format import BLOCKS, evenly, sparkline

known = st.floats(-1e9, 1e9)
values = st.lists(st.none() | known | st.just(math.nan), max_size=80)
widths = st.integers(0, 50)


@given(values, values, widths, st.booleans())
def test_equally_many_values_give_equally_long_lines(
    one: list[float | None], other: list[float | None], width: int, log: bool
) -> None:
    count = min(len(one), len(other))
    lines = [sparkline(values[:count], width, log=log) for values in (one, other)]
    assert len(lines[0]) == len(lines[1]) == min(count, width)


@given(values, known, known)
def test_on_a_common_scale_equal_values_have_equal_blocks(shown: list[float | None], one: float, other: float) -> None:
    low, high = sorted((one, other))
    whole = sparkline(shown, len(shown), low=low, high=high)
    assert whole == "".join(sparkline([value], 1, low=low, high=high) for value in shown)


def test_values_that_are_missing_leave_a_gap() -> None:
    assert sparkline([0.0, None, math.nan, 1.0], 10) == "▁  █"
    assert sparkline([None, None], 10) == "  "
    assert sparkline([0.0, 0.0, None, None, 1.0, None], 3) == "▁ █"


def test_a_line_reaches_from_the_lowest_to_the_highest_block() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8) == BLOCKS
    assert sparkline([5.0, 5.0], 8) == "▄▄"
    assert sparkline([0.5], 1, low=0.0, high=1.0) == "▅"
    assert sparkline([-1.0, 2.0], 2, low=0.0, high=1.0) == "▁█"
    assert sparkline([1.0, 10.0, 100.0], 3, log=True) == "▁▅█"


@given(st.lists(st.tuples(st.floats(0, 100), known), min_size=1, max_size=60), st.integers(1, 50))
def test_curves_over_the_same_time_become_equally_long(pairs: list[tuple[float, float]], count: int) -> None:
    places, shown = zip(*sorted(pairs), strict=True)
    found = evenly(places, shown, 0.0, 100.0, count)
    assert len(found) == count
    ends = [number for number, value in enumerate(found) if value is not None]
    assert ends == list(range(ends[0], ends[-1] + 1))
    assert ends[0] == min(count - 1, int(count * places[0] / 100))
    assert ends[-1] == min(count - 1, int(count * places[-1] / 100))


@pytest.mark.parametrize(
    ("places", "shown", "expected"),
    [
        ([0, 5, 10], [1, 2, 3], [1, 1, 2, 2, 3]),
        ([4, 6], [1, 2], [None, None, 1, 2, None]),
        ([0, 1, 10], [1, 3, 5], [2, 3, 3, 3, 5]),
        ([0, 4, 10], [1, None, 5], [1, 1, None, None, 5]),
        ([20], [1], [None] * 5),
    ],
)
def test_between_two_values_the_earlier_one_holds(
    places: list[float], shown: list[float | None], expected: list[float | None]
) -> None:
    assert evenly(places, shown, 0, 10, 5) == expected


def test_means_stay_between_their_values() -> None:
    line = sparkline([float(value) for value in range(1000)], 40)
    assert len(line) == 40
    assert all(a <= b for a, b in pairwise(BLOCKS.index(block) for block in line))
