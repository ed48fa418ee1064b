"""The header of a file of weights says how to use them, and a damaged or hostile one is refused."""

import json
import os

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.data.preprocess import Frames, Pixels
from rbp_engine.preset import load_preset
from rbp_engine.train.checkpoints.recipe import Recipe, read_recipe
from rbp_engine.train.errors import CheckpointError

PRESET = load_preset("digits", ["T=3", "neuron.decay=0.37"]).preset
_SCALES = st.floats(1e-30, 1e30)
PREPROCESSES = st.one_of(
    st.builds(Frames, st.integers(1, 10), _SCALES),
    st.lists(st.tuples(st.floats(-9, 9), _SCALES), min_size=1, max_size=5).flatmap(
        lambda pairs: st.builds(Pixels, *(st.just(side) for side in zip(*pairs, strict=True)), st.integers(0, 512))
    ),
)
TENSORS = {"weight": torch.ones(2, 3)}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("weights") / "model.safetensors"


@given(preprocess=PREPROCESSES, classes=st.integers(1, 1000))
def test_what_is_written_is_read_again(file, preprocess, classes):
    recipe = Recipe(PRESET, classes, preprocess)
    file.write_bytes(safetensors.torch.save(TENSORS, recipe.as_metadata()))
    assert read_recipe(file) == recipe


@given(st.binary(max_size=60), st.one_of(st.none(), st.integers(0, 60)))
def test_bytes_that_are_no_weights_are_a_checkpoint_error_or_have_no_recipe(file, content, length):
    file.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    try:
        assert read_recipe(file) is None
    except CheckpointError as error:
        assert str(file) in str(error)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["preset", "classes", "pixels", "mean", "deviation", "crop"]), _JSON)
def test_a_recipe_with_a_value_of_another_kind_is_a_checkpoint_error(file, key, value):
    written = json.loads(Recipe(PRESET, 10, Pixels((0.3,), (0.4,))).as_metadata()["rbp"])
    place = written if key in written else written["pixels"]
    place[key] = value
    file.write_bytes(safetensors.torch.save(TENSORS, {"rbp": json.dumps(written)}))
    try:
        assert isinstance(read_recipe(file), Recipe)
    except CheckpointError as error:
        assert "not in a way that is understood here" in str(error)


def test_weights_without_a_recipe_have_none_and_a_pipe_is_not_waited_for(tmp_path):
    safetensors.torch.save_file(TENSORS, tmp_path / "plain.safetensors")
    assert read_recipe(tmp_path / "plain.safetensors") is None
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="a named pipe, not a file"):
        read_recipe(tmp_path / "pipe.safetensors")
