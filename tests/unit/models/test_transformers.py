"""The tokens of Spikformer and QKFormer; test_membrane_shortcuts.py has the oracles for their values."""

import pytest
import torch

from rbp_engine.models import create_model
from rbp_engine.models.spikformer import spikformer
from rbp_engine.spiking import LIF


@pytest.mark.parametrize(("patch", "tokens"), [(2, 16), (4, 4), (8, 1), (16, 1)])
def test_each_patch_of_pixels_becomes_a_token(patch, tokens):
    with torch.device("meta"):
        model = spikformer(1, 16, 2, patch, num_classes=3, in_channels=1, neuron=LIF)
        assert model.patch_embed(torch.empty(2, 1, 8, 8)).flatten(2).shape == (2, 16, tokens)


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("qkformer_4_384", 32, [32, 16, 8]),
        ("qkformer_digits", 8, [8, 4]),
        ("qkformer_2_256", 128, [16, 8]),
        ("qkformer_10_384", 224, [56, 28, 14]),
    ],
)
def test_each_stage_has_fewer_tokens(name, size, sides):
    with torch.device("meta"):
        model = create_model(name, num_classes=10, in_channels=3)
        seen = []
        for stage in model.stages:
            stage[-1].register_forward_hook(lambda module, args, out: seen.append(out.shape[-1]))
        model(torch.empty(1, 3, size, size))
    assert seen == sides
