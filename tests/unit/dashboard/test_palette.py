from itertools import combinations

import numpy as np
import pytest

from rbp_tui.charts.palette import DARK, LIGHT, SeriesColours, contrast
from rbp_tui.dashboard.themes import DARK as DARK_THEME
from rbp_tui.dashboard.themes import LIGHT as LIGHT_THEME

# Complete protanopia and deuteranopia on linear RGB (Machado, Oliveira and Fernandes 2009).
SIGHTS = {
    "normal": np.eye(3),
    "red-blind": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "green-blind": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# Linear RGB to Oklab, where equal distances look equally large.
TO_CONES = np.array(
    [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
)
TO_LAB = np.array(
    [[0.21045426, 0.79361779, -0.00407205], [1.9779985, -2.4285922, 0.45059371], [0.02590404, 0.78277177, -0.80867577]]
)


def linear(colour):
    parts = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def seen(colour, sight):
    return TO_LAB @ np.cbrt(TO_CONES @ np.clip(sight @ linear(colour), 0, 1))


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("colours", [DARK, LIGHT])
def test_any_two_colours_differ_also_for_colour_blind_eyes(colours, sight):
    for one, other in combinations(colours, 2):
        assert np.linalg.norm(seen(one, SIGHTS[sight]) - seen(other, SIGHTS[sight])) > 0.08, (one, other)


@pytest.mark.parametrize(("colours", "theme"), [(DARK, DARK_THEME), (LIGHT, LIGHT_THEME)])
def test_colours_stand_out_from_the_background(colours, theme):
    for name in ("background", "surface", "panel"):
        for colour in colours:
            assert contrast(colour, getattr(theme, name)) >= 3, (colour, name)


def test_a_key_keeps_its_colour_when_others_come_and_go():
    colours = SeriesColours()
    first = [colours.colour(key, dark=True) for key in ("a", "b", "c")]
    assert len(set(first)) == 3
    assert [colours.colour(key, dark=True) for key in ("c", "a")] == [first[2], first[0]]
    assert [colours.index(f"more {number}") for number in range(9)][-1] == 11
    assert colours.colour("more 5", dark=False) == LIGHT[0]


def test_series_of_one_colour_differ_in_their_strokes():
    colours = SeriesColours()
    looks = [(colours.colour(str(key), dark=True), colours.stroke(str(key))) for key in range(24)]
    assert len(set(looks)) == 24
    assert [stroke for _, stroke in looks[:8]] == [0] * 8
