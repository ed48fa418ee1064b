"""Spikformer and QKFormer: their tokens, and SpikingJelly's networks as the oracles for their values."""

from functools import partial

import pytest
import torch
from spikingjelly.activation_based.model import qkformer as their_qkformer
from spikingjelly.activation_based.model import spikformer as their_spikformer

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.models.qkformer import hierarchy
from rbp_engine.models.spikformer import spikformer
from rbp_engine.spiking import LIF
from tests.unit.models.spikingjelly_weights import at_work, with_weights_of

# τ = 2 with `decay_input` and a hard reset to 0.
PAPER_NEURON = partial(LIF, decay=0.5, threshold=2.0, reset="hard", surrogate_args={"alpha": 2.0})


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


def spikformers(patch):
    """SpikingJelly's network, and ours of the same size."""
    size = {"img_size_h": 2 * patch, "img_size_w": 2 * patch, "embed_dims": 16, "num_heads": 2, "depths": 2}
    theirs = their_spikformer.Spikformer(T=4, in_channels=3, num_classes=5, patch_size=patch, **size)
    ours = spikformer(2, 16, 2, patch, num_classes=5, in_channels=3, neuron=PAPER_NEURON)
    return at_work(theirs, bias=1.2), ours


def qkformers():
    size = {"embed_dims": 16, "num_heads": (4, 4, 4), "depths": (1, 2, 1)}
    theirs = their_qkformer.QKFormer(T=4, in_channels=3, num_classes=5, **size)
    ours = hierarchy(16, 4, (1, 2, 1), num_classes=5, in_channels=3, neuron=PAPER_NEURON)
    return at_work(theirs, bias=0.8), ours


@pytest.mark.parametrize(
    ("make", "side"),
    [(partial(spikformers, 4), 8), (partial(spikformers, 16), 32), (qkformers, 64)],
    ids=["spikformer, patches of 4", "spikformer, patches of 16", "qkformer"],
)
@torch.no_grad()
def test_with_spikingjellys_weights_its_logits_come_out(make, side):
    torch.manual_seed(0)
    theirs, ours = make()
    theirs, ours = theirs.eval(), with_weights_of(ours.double().eval(), theirs)
    rates = {}
    for name, neuron in ours.named_modules():
        if isinstance(neuron, LIF):
            neuron.register_forward_hook(
                lambda module, args, out, name=name: rates.update({name: out.values().mean().item()})
            )
    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    expected = theirs(images)  # of every timestep, or their mean
    assert expected.std(0).min() > 1e-4
    logits = create_method("bptt", 4).predict(ours, images)
    torch.testing.assert_close(logits if expected.ndim == 3 else logits.mean(0), expected, rtol=1e-12, atol=1e-12)
    assert [name for name, rate in rates.items() if not 0.01 < rate < 0.99] == []
