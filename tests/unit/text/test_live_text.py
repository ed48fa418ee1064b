"""The firing rates of all layers in one line."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.history.samples import FiringHistory
from rbp_tui.text.live_text import firing_text


def history(layers):
    rates = np.tile(np.linspace(0.05, 0.25, layers)[None, :, None], (2, 1, 4))
    names, step, epoch = tuple(map(str, range(layers))), np.array([10.0, 20.0]), np.array([1.0, 2.0])
    silent, saturated = np.full((2, layers), 0.5), np.full((2, layers), 0.125)
    return FiringHistory(
        neuron_layers=names, weight_layers=(), step=step, epoch=epoch, rates=rates, silent=silent, saturated=saturated
    )


def test_the_line_has_a_bar_for_each_layer_and_what_is_usual():
    text = firing_text(history(5), 90, "6 shows the layers").plain
    assert text == "▂▄▅▇█   rate 15.0 %   silent 50.0 %   saturated 12.5 %   by layer   6 shows the layers"


@given(st.integers(1, 400), st.integers(1, 200))
def test_a_narrow_line_loses_the_least_important_first(layers, width):
    text = firing_text(history(layers), width, "more").plain
    figures = [word for word in ("rate", "silent", "saturated", "by layer", "more") if word in text]
    assert figures == ["rate", "silent", "saturated", "by layer", "more"][: len(figures)]
    assert "rate" in text
    assert len(text) <= max(width, len("█   rate 15.0 %"))
