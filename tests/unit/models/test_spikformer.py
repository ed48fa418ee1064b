"""Spikformer: its published sizes, and SpikingJelly's network as the oracle for its values."""

import os
from functools import partial

import pytest
import torch
from spikingjelly.activation_based.model import spikformer as spikingjelly
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.models.spikformer import from_spikingjelly, spikformer
from rbp_engine.spiking import LIF

# τ = 2 with `decay_input` and a hard reset to 0.
PAPER_NEURON = partial(LIF, decay=0.5, threshold=2.0, reset="hard", surrogate_args={"alpha": 2.0})


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("spikformer_4_384", 10, 9.32),
        ("spikformer_2_256", 10, 2.57),
        ("spikformer_8_384", 1000, 16.81),
        ("spikformer_8_512", 1000, 29.68),
        ("spikformer_8_768", 1000, 66.34),
    ],
)
def test_the_number_of_parameters_is_that_of_the_paper(name, classes, millions):
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, in_channels=2 if name == "spikformer_2_256" else 3)
    count = sum(parameter.numel() for parameter in model.parameters())
    # The published code has biases in some convolutions before batch norms, where they do nothing.
    assert count == pytest.approx(millions * 1e6, rel=0.0025)


@pytest.mark.parametrize(("patch", "tokens"), [(2, 16), (4, 4), (8, 1), (16, 1)])
def test_each_patch_of_pixels_becomes_a_token(patch, tokens):
    with torch.device("meta"):
        model = spikformer(1, 16, 2, patch, num_classes=3, in_channels=1, neuron=LIF)
        assert model.patch_embed(torch.empty(2, 1, 8, 8)).flatten(2).shape == (2, 16, tokens)


def pair(patch):
    """SpikingJelly's network, with statistics and weights at which its neurons fire, and ours with its weights."""
    torch.manual_seed(0)
    size = {
        "img_size_h": 2 * patch,
        "img_size_w": 2 * patch,
        "patch_size": patch,
        "embed_dims": 16,
        "num_heads": 2,
        "depths": 2,
    }
    theirs = spikingjelly.Spikformer(T=4, in_channels=3, num_classes=5, **size).eval()
    for norm in theirs.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 1.0, 3.0)
            nn.init.normal_(norm.bias, 1.2, 0.5)
            norm.running_var.uniform_(0.01, 0.2)
    ours = spikformer(2, 16, 2, patch, num_classes=5, in_channels=3, neuron=PAPER_NEURON).eval()
    ours.load_state_dict(from_spikingjelly(theirs.state_dict()))
    return theirs.double(), ours.double()


@pytest.mark.parametrize("patch", [4, 16])
@torch.no_grad()
def test_with_spikingjellys_weights_its_logits_come_out_at_every_timestep(patch):
    theirs, ours = pair(patch)
    rates = {}
    for name, neuron in ours.named_modules():
        if isinstance(neuron, LIF):
            neuron.register_forward_hook(
                lambda module, args, out, name=name: rates.update({name: out.values().mean().item()})
            )
    images = torch.randn(3, 3, 2 * patch, 2 * patch, dtype=torch.float64)
    expected = theirs(images)
    assert expected.shape == (4, 3, 5) and expected.std(0).min() > 1e-4
    torch.testing.assert_close(create_method("bptt", 4).predict(ours, images), expected, rtol=1e-12, atol=1e-12)
    assert [name for name, rate in rates.items() if not 0.01 < rate < 0.99] == []


def small(kernel="eager"):
    torch.manual_seed(0)
    neuron = partial(LIF, threshold=0.5, kernel=kernel)
    return spikformer(1, 16, 2, 2, num_classes=3, in_channels=1, neuron=neuron).double()


def gradients(model, method, timesteps):
    images = torch.randn(4, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    create_method(method, timesteps).step(model, images, torch.tensor([0, 1, 2, 0]))
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.skipif("RBP_EVERY_CASE" not in os.environ, reason="RBP_EVERY_CASE=1")
def test_compiled_neurons_give_the_gradient_of_eager_ones():
    torch.testing.assert_close(
        gradients(small("compiled"), "rate_m", 3), gradients(small(), "rate_m", 3), rtol=1e-9, atol=1e-12
    )
