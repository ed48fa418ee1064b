"""Presets for tests: drawn at random, or loaded from a text as the file mine.toml of the current folder."""

from pathlib import Path

import pytest
from hypothesis import strategies as st

from rbp_engine.preset import LoadedPreset, PresetError, load_preset
from rbp_engine.preset.schema import Preset
from rbp_engine.vocabulary import SURROGATE_ARGUMENTS

NETS = "from torch import nn\n\n\nclass MyNet(nn.Sequential):\n    pass\n"
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABEL = st.text("abcé -_.:", max_size=8).filter(lambda text: text not in {".", ".."})
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
ARGUMENT = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(WORDS, ARGUMENT, max_size=4)
FIGURE = st.fixed_dictionaries(
    {"method": WORDS, "timesteps": st.integers(1, 10_000), "top1": st.one_of(st.floats(0, 1), st.just("not known"))}
)


@st.composite
def presets(draw: st.DrawFn) -> Preset:
    surrogate = draw(st.sampled_from(sorted(SURROGATE_ARGUMENTS)))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    arguments = st.dictionaries(st.sampled_from(SURROGATE_ARGUMENTS[surrogate]), finite)
    return Preset.model_validate(
        {
            "title": draw(WORDS),
            "description": draw(WORDS),
            "paper": draw(st.none() | st.fixed_dictionaries({"note": WORDS, "figures": st.lists(FIGURE, max_size=3)})),
            "data": {
                "name": "sets.py:mine",
                "args": draw(ARGUMENTS),
                "batch_size": draw(st.integers(1, 2**20)),
                "flip": draw(st.booleans()),
            },
            "model": {"name": "my nets.py:MyNet", "args": draw(ARGUMENTS)},
            "neuron": {
                "reset": "hard",
                "v_reset": draw(finite),
                "threshold": draw(POSITIVE),
                "surrogate": surrogate,
                "surrogate_args": draw(arguments),
            },
            "optim": {"lr": draw(POSITIVE | st.integers(1, 9)), "name": draw(st.sampled_from(["sgd", "adam"]))},
            "run": {"seed": draw(st.integers(0, 2**63 - 1)), "name": draw(LABEL), "tags": draw(st.lists(LABEL))},
        }
    )


def load(text: str, *words: str) -> LoadedPreset:
    Path("mine.toml").write_text(text, encoding="utf-8")
    return load_preset("mine.toml", words)


def refusal(text: str, *words: str) -> str:
    with pytest.raises(PresetError) as caught:
        load(text, *words)
    return str(caught.value)
