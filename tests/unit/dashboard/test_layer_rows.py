"""Tables of layers fitted to a width, and the colours of heat."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rbp_tui.charts.heatmap import DARK, LIGHT, HeatScale, round_top
from rbp_tui.charts.layer_rows import Heat, LayerRows, Numbers, Sparks, Words
from rbp_tui.charts.palette import contrast
from rbp_tui.dashboard.themes import DARK_COLOURS, LIGHT_COLOURS
from rbp_tui.text.format import BLOCKS

NAMES = ["conv1", "layer1.0.lif1", "features.denseblock4.denselayer24.lif2", "层4"]


def rows(timesteps: int = 4) -> LayerRows:
    count = len(NAMES)
    rates = np.linspace(0.0, 0.4, count * timesteps).reshape(count, timesteps)
    history = np.stack([rates.mean(axis=1) * (1 + sample) for sample in range(5)])
    columns = [
        Heat("timestep", rates, 0.5, [str(t + 1) for t in range(timesteps)]),
        Numbers("mean %", rates.mean(axis=1), factor=100, rank=1),
        Numbers("silent %", np.array([0.0, math.nan, 0.5, 1.0]), factor=100, attention=0.5, rank=2),
        Sparks("trend", history, rank=3),
        Words("cause", ["", "short", "a long sentence about it", "x"], rank=4),
    ]
    return LayerRows("rates", NAMES, columns)


def test_texts_with_units_end_below_each_other() -> None:
    differences = Numbers("Δ", np.array([-6.11, 0.28, math.nan]), digits=2)
    table = LayerRows("", ["a", "b", "c"], [Words("energy", ["6.71 nJ", "84.9 µJ", "–"], right=True), differences])
    assert [table.row(number, 40, ()).plain[6:] for number in range(3)] == [
        "  6.71 nJ  −6.11",
        "  84.9 µJ   0.28",
        "        –      –",
    ]
    assert table.head(40).plain[6:] == "   energy      Δ"


@given(st.integers(1, 200), st.integers(1, 40), st.sampled_from([(), DARK]))
def test_every_row_fits_and_all_are_equally_wide(width: int, timesteps: int, colours: tuple[str, ...]) -> None:
    table = rows(timesteps)
    drawn = [table.head(width), *(table.row(number, width, colours) for number in range(len(NAMES)))]
    widths = {cell_len(text.plain) for text in drawn}
    assert len(widths) == 1
    assert max(widths) <= max(width, 6)


def test_of_little_room_the_columns_of_the_highest_rank_are_left_out_first() -> None:
    shown = [[column.heading for column, _ in rows().fitted(width)[1]] for width in range(20, 150)]
    assert shown[0] == [] or shown[0] == ["timestep"]
    assert shown[-1] == ["timestep", "mean %", "silent %", "trend", "cause"]
    assert all(fewer == more[: len(fewer)] for fewer, more in pairwise(shown))


def test_a_long_name_keeps_its_end() -> None:
    name = rows().row(2, 60, ()).plain.split("  ")[0]
    assert name.startswith("…") and name.endswith("denselayer24.lif2")


def test_numbers_are_right_aligned_and_marked_from_where_they_need_attention() -> None:
    shares = np.array([0.0, math.nan, 0.5, 1.0])
    table = LayerRows("rates", NAMES, [Numbers("silent %", shares, factor=100, attention=0.5)])
    lines = [table.row(number, 60, ()) for number in range(4)]
    assert [line.plain.split()[1] for line in lines] == ["0.0", "–", "50.0", "100.0"]
    assert len({cell_len(line.plain.rstrip()) for line in [*lines, table.head(60)]}) == 1
    marked = [any("yellow" in str(span.style) for span in line.spans) for line in lines]
    assert marked == [False, False, True, True]


def test_an_export_has_every_value_in_full() -> None:
    headings, lines = rows().table()
    assert headings == ["layer", "timestep", "mean %", "silent %", "trend", "cause"]
    assert lines[2][0] == NAMES[2] and lines[2][3] == "50.0" and len(lines[2][1].split()) == 4


@pytest.mark.parametrize("colours", [DARK, LIGHT])
def test_what_is_written_on_heat_can_be_read_and_higher_values_stand_out_more(colours: tuple[str, ...]) -> None:
    background = (DARK_COLOURS if colours is DARK else LIGHT_COLOURS).background
    scale = HeatScale(1.0, colours)
    styles = [scale.style(step / 32) for step in range(33)]
    inks = [style.color.get_truecolor().hex for style in styles if style.color]
    backs = [style.bgcolor.get_truecolor().hex for style in styles if style.bgcolor]
    assert min(contrast(ink, back) for ink, back in zip(inks, backs, strict=True)) >= 4.5
    seen = [contrast(back, background) for back in backs]
    assert seen == sorted(seen) and seen[-1] > 10


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 4))
def test_without_colours_higher_values_have_blocks_that_are_not_lower(values: list[float], width: int) -> None:
    row = HeatScale(round_top(max(values))).cells(values, width).plain
    heights = [f"·{BLOCKS}".index(row[at * width]) for at in range(len(values))]
    ordered = sorted(zip(values, heights, strict=True))
    assert [height for _, height in ordered] == sorted(height for _, height in ordered)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_scale_ends_at_a_round_number_that_is_not_below_the_highest(highest: float) -> None:
    top = round_top(highest)
    assert 0 < top < math.inf
    if 1e-4 < highest < 1e6:
        assert highest <= top * (1 + 1e-6) and top <= highest * 2.01


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6), st.integers(1, 6))
def test_a_scale_draws_any_number(values: list[float], width: int) -> None:
    for colours in ((), DARK):
        assert cell_len(HeatScale(0.5, colours).cells(values, width).plain) == len(values) * width
