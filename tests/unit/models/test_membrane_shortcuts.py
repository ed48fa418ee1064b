"""Networks whose shortcuts carry currents: MS-ResNet, Spike-driven Transformer V1 and V2, Max-Former.

Their published sizes; and SpikingJelly's networks as the oracle for the values of these, but V2, of Spikformer and of
QKFormer.
"""

import os
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.model import maxformer as their_maxformer
from spikingjelly.activation_based.model import ms_resnet as their_ms_resnet
from spikingjelly.activation_based.model.qkformer import QKFormer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from spikingjelly.activation_based.model.spikformer import Spikformer
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import MODELS, create_model, maxformer, ms_resnet, sdt
from rbp_engine.models.qkformer import hierarchy
from rbp_engine.models.sdt_v2 import PaddedBatchNorm, reparameterised, sdt_v2
from rbp_engine.models.spikformer import spikformer
from rbp_engine.spiking import LIF
from tests.unit.models.spikingjelly_weights import at_work, with_weights_of

T, B, CLASSES = 4, 4, 3
HERE = [name for name in MODELS if name.startswith(("ms_resnet", "max", "sdt"))]
# Classes, and millions of parameters as published.
PUBLISHED = {
    "ms_resnet18_cifar": (10, 12.50),
    "max_resnet18_cifar": (10, 12.50),
    "ms_resnet18": (1000, 11.69),
    "ms_resnet34": (1000, 21.80),
    "ms_resnet104": (1000, 77.28),
    "sdt_2_512": (100, 10.28),
    "sdt_8_384": (1000, 16.81),
    "sdt_8_512": (1000, 29.68),
    "sdt_8_768": (1000, 66.34),
    "sdt_v2_8_256": (1000, 15.1),
    "sdt_v2_8_384": (1000, 31.3),
    "sdt_v2_8_512": (1000, 55.4),
    "maxformer_4_384": (10, 6.57),
    "maxformer_10_384": (1000, 16.23),
    "maxformer_10_768": (1000, 63.99),
}
# SpikingJelly's neurons: τ = 2 with `decay_input`; τ = 4/3 without.
TAU_2 = partial(LIF, decay=0.5, threshold=2.0, reset="hard", surrogate_args={"alpha": 2.0})
TAU_4_3 = partial(LIF, decay=0.25, threshold=0.5, reset="hard")


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_parameters_is_that_of_the_paper(name):
    classes, millions = PUBLISHED[name]
    with torch.device("meta"):
        model = create_model(name, num_classes=classes, in_channels=3)
    # SDT's convolutions have biases before batch norms here and in SpikingJelly, 0.001 million that do nothing.
    assert count(model) / 1e6 == pytest.approx(millions, abs=0.051 if name.startswith("sdt_v2") else 0.0105)


def test_only_the_size_for_small_images_was_not_published():
    assert set(HERE) - PUBLISHED.keys() == {"sdt_v2_3_96"}


COMMON = {"num_classes": CLASSES, "in_channels": 3}
SPIKFORMER = {"T": T, "img_size_h": 32, "img_size_w": 32, "embed_dims": 16, "num_heads": 2, "depths": 2, **COMMON}
THEIRS = {
    "ms_resnet": lambda: their_ms_resnet.MSResNet(T=T, layers=(1, 2, 1, 1), base_channels=8, **COMMON),
    "max_resnet": lambda: their_ms_resnet.MaxResNet(
        T=T, layers=(2, 1, 1), base_channels=8, stem_kernel_size=3, stem_stride=1, **COMMON
    ),
    "sdt": lambda: SpikeDrivenTransformer(T=T, embed_dims=16, num_heads=2, depths=2, pooling_stat="0011", **COMMON),
    "maxformer_cifar": lambda: their_maxformer.MaxFormer(T=T, embed_dims=32, depths=(2, 1, 1), cifar=True, **COMMON),
    "maxformer": lambda: their_maxformer.MaxFormer(T=T, embed_dims=128, depths=(1, 2, 1), **COMMON),
    "spikformer, patches of 4": lambda: Spikformer(patch_size=4, **SPIKFORMER),
    "spikformer, patches of 16": lambda: Spikformer(patch_size=16, **SPIKFORMER),
    "qkformer": lambda: QKFormer(T=T, embed_dims=16, num_heads=(4, 4, 4), depths=(1, 2, 1), **COMMON),
}
OURS = {
    "ms_resnet": lambda neuron: ms_resnet.ms_resnet((1, 2, 1, 1), (8, 16, 32, 64), neuron=neuron, **COMMON),
    "max_resnet": lambda neuron: ms_resnet.ms_resnet(
        (2, 1, 1), (8, 16, 32), (3, 1), 1, max_pool=True, neuron=neuron, **COMMON
    ),
    "sdt": lambda neuron: sdt.sdt(2, 16, (False, False, True, True), neuron=neuron, **COMMON),
    "maxformer_cifar": lambda neuron: maxformer.maxformer((2, 1, 1), 32, 8, cifar=True, neuron=neuron, **COMMON),
    "maxformer": lambda neuron: maxformer.maxformer((1, 2, 1), 128, 2, neuron=neuron, **COMMON),
    "spikformer, patches of 4": lambda neuron: spikformer(2, 16, 2, 4, neuron=neuron, **COMMON),
    "spikformer, patches of 16": lambda neuron: spikformer(2, 16, 2, 16, neuron=neuron, **COMMON),
    "qkformer": lambda neuron: hierarchy(16, 4, (1, 2, 1), neuron=neuron, **COMMON),
}
#: With biases of batch norms at which most neurons fire now and then.
BIASES = {"spikformer, patches of 4": 1.2, "spikformer, patches of 16": 1.2, "qkformer": 0.8}
TINY = {
    **{name: make for name, make in OURS.items() if name not in BIASES},
    "ms_resnet104": lambda neuron: ms_resnet.ms_resnet((1, 1), (8, 16), average_pool=True, neuron=neuron, **COMMON),
    "sdt_v2": lambda neuron: sdt_v2((8, 8, 16, 16), (1, 1), 2, neuron=neuron, **COMMON),
}


@pytest.mark.parametrize("name", THEIRS)
@torch.no_grad()
def test_with_spikingjellys_weights_its_logits_come_out(name):
    torch.manual_seed(0)
    theirs = at_work(THEIRS[name](), BIASES.get(name, 1.0)).eval()
    ours = with_weights_of(OURS[name](TAU_4_3 if name == "ms_resnet" else TAU_2).double().eval(), theirs)
    images = torch.randn(B, 3, 32, 32, dtype=torch.float64)
    expected = theirs(images)  # of every timestep, or their mean
    assert expected.std(0).max() > 1e-3
    logits = create_method("bptt", T).predict(ours, images)
    torch.testing.assert_close(logits if expected.ndim == 3 else logits.mean(0), expected, rtol=1e-12, atol=1e-12)


def gradients(name, method, timesteps, kernel="eager"):
    torch.manual_seed(0)
    model = at_work(TINY[name](partial(LIF, kernel=kernel)))
    images = torch.randn(B, 3, 32, 32, dtype=torch.float64)
    create_method(method, timesteps).step(model, images, torch.tensor([0, 1, 2, 0]))
    return {key: parameter.grad for key, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", TINY)
def test_at_t_1_every_method_gives_the_gradient_of_bptt_and_it_reaches_every_weight(name):
    expected = gradients(name, "bptt", 1)
    assert not [key for key, gradient in expected.items() if "weight" in key and not gradient.any()]
    for method in METHODS:
        for key, gradient in gradients(name, method, 1).items():
            size = expected[key].abs().max().item()
            torch.testing.assert_close(gradient, expected[key], rtol=1e-8, atol=1e-10 * (1 + size), msg=key)


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.skipif("RBP_EVERY_CASE" not in os.environ, reason="RBP_EVERY_CASE=1")
def test_compiled_neurons_give_the_gradient_of_eager_ones():
    """Those of the mask, [B, C, 1, 1], are among them."""
    compiled, eager = (gradients("sdt", "rate_m", 2, kernel) for kernel in ("compiled", "eager"))
    torch.testing.assert_close(compiled, eager, rtol=1e-8, atol=1e-10)


@torch.no_grad()
def test_the_reparameterised_convolutions_are_one_convolution_padded_with_zeros():
    torch.manual_seed(0)
    layers = reparameterised(4)
    assert isinstance(layers[1], PaddedBatchNorm)
    layers = at_work(layers).eval()
    for norm in (layers[1], layers[4], layers[5]):
        norm.running_mean.normal_()
    constant = layers(torch.zeros(1, 4, 5, 5, dtype=torch.float64))
    assert torch.allclose(constant, constant[..., :1, :1].expand_as(constant)), "zeros give one value, also at the edge"
    spot = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    spot[range(4), range(4), 1, 1] = 1.0
    weight = (layers(spot) - constant[..., 0, 0][..., None, None]).transpose(0, 1).flip(2, 3)
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    expected = F.conv2d(x, weight, constant[0, :, 0, 0], padding=1)
    torch.testing.assert_close(layers(x), expected, rtol=1e-10, atol=1e-10)


def test_a_new_ms_resnet_with_papers_weights_has_blocks_that_add_nothing():
    torch.manual_seed(0)
    model = ms_resnet.ms_resnet((1, 1), (8, 16), init="paper", neuron=LIF, **COMMON)
    norms = {name: norm for name, norm in model.named_modules() if isinstance(norm, nn.BatchNorm2d)}
    last = {"stages.0.0.bn2", "stages.1.0.bn2"}
    assert last < norms.keys()
    for name, norm in norms.items():
        assert set(norm.weight.tolist()) == ({0.0} if name in last else {0.5}), name
