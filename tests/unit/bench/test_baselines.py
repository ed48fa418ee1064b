"""Baselines train the same network: their gradients are those of our methods."""

from functools import partial

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.models.spikformer import from_spikingjelly, spikformer
from rbp_engine.spiking import LIF

T = 3


PAPER = {"decay": 0.5, "surrogate": "sigmoid", "surrogate_args": {"alpha": 4.0}}


def gradients(name, images, labels, settings):
    """The gradients of a method or baseline, from the same weights."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=10, in_channels=2, **settings).train()
    return list(gradients_of(model, name, images, labels).values())


def gradients_of(model, name, images, labels):
    if name in BASELINES:
        model, step = BASELINES[name](model, T)
        step(images, labels)
    else:
        create_method(name, T).step(model, images, labels)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(
    ("baseline", "method", "settings"),
    [
        ("spikingjelly", "bptt", PAPER),
        ("spikingjelly", "bptt", PAPER | {"surrogate": "atan", "surrogate_args": {"alpha": 1.0}}),
        ("spikingjelly", "bptt", PAPER | {"reset": "hard", "v_reset": 0.1, "detach_reset": False}),
        ("spikingjelly", "bptt", PAPER | {"decay": 1.0}),
        ("two_pass", "rate_m", PAPER),
        ("two_pass", "rate_m", PAPER | {"surrogate_args": {"alpha": 2.0}, "threshold": 0.5}),
    ],
)
def test_a_baseline_has_the_gradient_of_our_method_for_the_same_neuron(baseline, method, settings, frames):
    torch.manual_seed(1)
    images = torch.rand(T, 4, 2, 8, 8) if frames else torch.rand(4, 2, 8, 8)
    labels = torch.tensor([0, 1, 2, 3])
    found = gradients(baseline, images, labels, settings)
    expected = gradients(method, images, labels, settings)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6)


def small_spikformer(patch=4):
    torch.manual_seed(0)
    return spikformer(1, 16, 2, patch, num_classes=4, in_channels=2, neuron=partial(LIF, decay=0.5)).double()


def test_spikingjellys_spikformer_has_the_gradient_of_our_bptt():
    torch.manual_seed(1)
    images, labels = torch.rand(4, 2, 8, 8, dtype=torch.float64), torch.arange(4)
    found = from_spikingjelly(gradients_of(small_spikformer(), "spikingjelly", images, labels))
    expected = gradients_of(small_spikformer(), "bptt", images, labels)
    assert list(found) == list(expected)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(found[name], gradient, rtol=1e-9, atol=1e-12), name


def test_spikingjellys_spikformer_is_its_own_network_of_the_same_size():
    ours = small_spikformer()
    theirs, _ = BASELINES["spikingjelly"](ours, T)
    assert type(theirs).__module__ == "spikingjelly.activation_based.model.spikformer"
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())


def test_a_spikformer_that_spikingjelly_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"no Spikformer of this size: .*patch_size=4 or 16"):
        BASELINES["spikingjelly"](small_spikformer(patch=2), T)


@pytest.mark.parametrize(
    ("baseline", "settings", "message"),
    [
        ("two_pass", {"reset": "hard"}, "soft, detached reset, not for Sigmoid with .*reset=hard"),
        ("two_pass", {"detach_reset": False}, "detach_reset=False"),
        ("two_pass", {"surrogate": "atan"}, "not for ATan"),
        ("spikingjelly", {"decay": 0.0}, "no neuron.decay = 0"),
    ],
)
def test_a_baseline_without_support_for_the_neuron_says_so(baseline, settings, message):
    model = create_model("convnet", num_classes=10, in_channels=2, **settings)
    with pytest.raises(ValueError, match=message):
        BASELINES[baseline](model, T)


def test_a_network_with_torchs_dropout_has_spikingjellys_in_its_place():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), LIF(decay=0.5), nn.Dropout(0.25), nn.Linear(6, 3))
    _, step = BASELINES["spikingjelly"](network, 2)
    assert (type(network[3]), network[3].p) == (layer.Dropout, 0.25)
    step(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    assert network[1].weight.grad is not None


def test_only_neurons_are_reset_and_no_layer_whose_reset_means_something_else():
    class Head(nn.Linear):
        def reset(self, num_classes):
            """timm's heads make a layer for other classes."""
            raise AssertionError

    network = nn.Sequential(nn.Conv2d(2, 4, 3), LIF(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Head(4, 3))
    _, step = BASELINES["spikingjelly"](network, T)
    for images in (torch.rand(2, 2, 8, 8), torch.rand(3, 2, 8, 8)):
        step(images, torch.zeros(len(images), dtype=torch.long))
