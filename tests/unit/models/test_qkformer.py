"""QKFormer: its published sizes, and SpikingJelly's network as the oracle for its values."""

import os
from functools import partial

import pytest
import torch
from spikingjelly.activation_based.model import qkformer as spikingjelly
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.models.qkformer import Stage, TokenQKAttention, hierarchy, qkformer
from rbp_engine.models.spikformer import SpikingSelfAttention
from rbp_engine.spiking import LIF
from tests.unit.models import spikingjelly_weights

# τ = 2 with `decay_input` and a hard reset to 0.
PAPER_NEURON = partial(LIF, decay=0.5, threshold=2.0, reset="hard", surrogate_args={"alpha": 2.0})


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        # The published code counts these two as 6,706,234 and 1,504,138; the paper writes 6.74 for the first.
        ("qkformer_4_384", 10, 6.706),
        ("qkformer_2_256", 10, 1.504),
        ("qkformer_10_384", 1000, 16.47),
        ("qkformer_10_512", 1000, 29.08),
        ("qkformer_10_768", 1000, 64.96),
    ],
)
def test_the_number_of_parameters_is_the_published_one_without_biases_before_batch_norms(name, classes, millions):
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, in_channels=2 if name == "qkformer_2_256" else 3)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.9985 * millions * 1e6 < count <= millions * 1e6


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


@torch.no_grad()
def test_with_spikingjellys_weights_its_logits_come_out():
    torch.manual_seed(0)
    size = {"embed_dims": 16, "num_heads": (4, 4, 4), "depths": (1, 2, 1)}
    theirs = spikingjelly.QKFormer(T=4, in_channels=3, num_classes=5, **size).double().eval()
    for norm in theirs.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 1.0, 3.0)
            nn.init.normal_(norm.bias, 0.8, 0.5)
            norm.running_var.uniform_(0.01, 0.2)
    ours = hierarchy(16, 4, (1, 2, 1), num_classes=5, in_channels=3, neuron=PAPER_NEURON).double().eval()
    ours.load_state_dict(spikingjelly_weights.qkformer(theirs.state_dict()))
    rates = {}
    for name, neuron in ours.named_modules():
        if isinstance(neuron, LIF):
            neuron.register_forward_hook(
                lambda module, args, out, name=name: rates.update({name: out.values().mean().item()})
            )
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    expected = theirs(images)
    assert expected.std(0).min() > 1e-4
    logits = create_method("bptt", 4).predict(ours, images).mean(0)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    assert [name for name, rate in rates.items() if not 0.01 < rate < 0.99] == []


def gradients(method, timesteps, kernel="eager"):
    torch.manual_seed(0)
    stages = (
        Stage((8,), (False,), 1, TokenQKAttention),
        Stage((16, 16), (False, True), 1, SpikingSelfAttention, mlp_ratio=1),
    )
    neuron = partial(LIF, threshold=0.5, kernel=kernel)
    model = qkformer({4: False}, stages, 2, num_classes=3, in_channels=1, neuron=neuron).double()
    images = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    create_method(method, timesteps).step(model, images, torch.tensor([0, 1, 2, 0]))
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.skipif("RBP_EVERY_CASE" not in os.environ, reason="RBP_EVERY_CASE=1")
def test_compiled_neurons_give_the_gradient_of_eager_ones():
    torch.testing.assert_close(gradients("rate_m", 3, "compiled"), gradients("rate_m", 3), rtol=1e-9, atol=1e-12)
