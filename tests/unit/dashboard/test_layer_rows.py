"""Tables of layers, and the colours of heat."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rbp_tui.charts.heatmap import DARK, LIGHT, HeatScale, round_top
from rbp_tui.charts.layer_rows import heat, layer_names, numbers, sparks, words
from rbp_tui.charts.palette import contrast
from rbp_tui.dashboard.themes import DARK_COLOURS, LIGHT_COLOURS
from rbp_tui.text.format import BLOCKS

NAMES = ["conv1", "layer1.0.lif1", "features.denseblock4.denselayer24.lif2", "层4"]


def columns(timesteps=4, colours=()):
    count = len(NAMES)
    rates = np.linspace(0.0, 0.4, count * timesteps).reshape(count, timesteps)
    return [
        layer_names(NAMES),
        heat(rates, 0.5, colours),
        numbers("mean %", rates.mean(axis=1), factor=100),
        numbers("silent %", np.array([0.0, math.nan, 0.5, 1.0]), factor=100, attention=0.5),
        sparks("trend", np.stack([rates.mean(axis=1) * (1 + sample) for sample in range(5)])),
        words("energy", ["", "6.71 nJ", "84.9 µJ", "–"], right=True),
    ]


@given(st.integers(1, 40), st.sampled_from([(), DARK]))
def test_every_layer_has_a_cell_in_every_column(timesteps, colours):
    drawn = columns(timesteps, colours)
    assert {len(one.cells) for one in drawn} == {len(NAMES)}
    assert len({cell.cell_len for cell in drawn[1].cells}) == 1


def test_a_long_name_loses_its_middle():
    name = columns()[0].cells[2].plain
    assert cell_len(name) <= 28 and "…" in name and name.endswith("elayer24.lif2")


def test_numbers_are_right_aligned_and_marked_from_where_they_need_attention():
    cells = columns()[3].cells
    assert [cell.plain for cell in cells] == ["0.0", "–", "50.0", "100.0"]
    assert {cell.justify for cell in cells} == {"right"} and columns()[3].title.justify == "right"
    assert [cell.style == "yellow" for cell in cells] == [False, False, True, True]


@pytest.mark.parametrize("colours", [DARK, LIGHT])
def test_what_is_written_on_heat_can_be_read_and_higher_values_stand_out_more(colours):
    background = (DARK_COLOURS if colours is DARK else LIGHT_COLOURS).background
    scale = HeatScale(1.0, colours)
    styles = [scale.style(step / 32) for step in range(33)]
    inks = [style.color.get_truecolor().hex for style in styles if style.color]
    backs = [style.bgcolor.get_truecolor().hex for style in styles if style.bgcolor]
    assert min(contrast(ink, back) for ink, back in zip(inks, backs, strict=True)) >= 4.5
    seen = [contrast(back, background) for back in backs]
    assert seen == sorted(seen) and seen[-1] > 10


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 4))
def test_without_colours_higher_values_have_blocks_that_are_not_lower(values, width):
    row = HeatScale(round_top(max(values))).cells(values, width).plain
    heights = [f"·{BLOCKS}".index(row[at * width]) for at in range(len(values))]
    ordered = sorted(zip(values, heights, strict=True))
    assert [height for _, height in ordered] == sorted(height for _, height in ordered)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_scale_ends_at_a_round_number_that_is_not_below_the_highest(highest):
    top = round_top(highest)
    assert 0 < top < math.inf
    if 1e-4 < highest < 1e6:
        assert highest <= top * (1 + 1e-6) and top <= highest * 2.01


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6), st.integers(1, 6))
def test_a_scale_draws_any_number(values, width):
    for colours in ((), DARK):
        assert cell_len(HeatScale(0.5, colours).cells(values, width).plain) == len(values) * width
