"""Completion of settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.preset import SHORT_NAMES, fields
from rbp_engine.preset.schema import Preset
from rbp_tui.text.setting_words import complete, completions, help_on_line, last_word

PRESET = Preset()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("", ""),
        ("T", "T="),
        ("neuron.re", "neuron.reset="),
        ("neuron.reset=h", "neuron.reset=hard"),
        ("momen", "optim.momentum="),
        ("lr=", "lr=0.1"),
        ("data.flip=t", "data.flip=true"),
        ("nothing=1", "nothing=1"),
        ("checkpoint_every=", "checkpoint_every="),
    ],
)
def test_the_last_word_is_completed(typed, completed):
    assert complete(typed, PRESET) == completed


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("", ""),
        ("meth", "method="),
        ("method=", "method=bptt"),
        ("method=rate_m,b", "method=rate_m,bptt"),
        ("method=rate_m,bptt", "method=rate_m,bptt"),
        ("method=bptt,rate_m,r", "method=bptt,rate_m,rate_s"),
        ("data.flip=true,", "data.flip=true,false"),
        ("T=", "T="),
        ("nothing=a,", "nothing=a,"),
    ],
)
def test_a_list_of_values_is_completed_with_those_that_it_has_not_yet(typed, completed):
    assert complete(typed, None) == completed


SETTINGS = [info.key for info in fields() if "." in info.key and not info.key.startswith("paper")]


@given(st.sampled_from([*SHORT_NAMES, *SETTINGS]), st.integers(1, 30))
def test_every_setting_can_be_completed_from_its_beginning(name, length):
    assert f"{name}=" in completions(name[:length], PRESET)


def test_a_number_that_is_typed_is_not_completed_to_that_of_the_preset():
    assert completions("epochs=", PRESET) == [f"epochs={PRESET.train.epochs}"]
    assert completions(f"epochs={PRESET.train.epochs // 10}", PRESET) == []


@given(st.text())
def test_only_the_last_word_is_ever_changed(text):
    assert complete(text, PRESET).startswith(text.removesuffix(last_word(text)))


LINES = ["title = 'x'", "[optim]", "lr = 0.1"]


def test_a_line_of_toml_is_explained():
    assert help_on_line(LINES, 2).startswith("optim.lr: Learning rate")
    assert help_on_line(LINES, 1) == help_on_line(LINES, 99) == ""
