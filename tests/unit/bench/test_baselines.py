"""Baselines train the same network: their gradients are those of our methods."""

from functools import partial

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.bench.measure.counts import saved_bytes, weighted_operations
from rbp_engine.bench.recomputation import blocks
from rbp_engine.methods import create_method
from rbp_engine.methods.protocol import predict
from rbp_engine.models import create_model
from rbp_engine.models.blocks import initialised
from rbp_engine.models.resnet import ResNet, SEWBlock
from rbp_engine.models.spikformer import spikformer
from rbp_engine.spiking import LIF
from tests.own_neurons import OwnLIF

T = 3
IMAGES = torch.zeros(4, 2, 8, 8)

PAPER = {"decay": 0.5, "surrogate": "sigmoid", "surrogate_args": {"alpha": 4.0}}


def gradients(name, images, labels, settings):
    """The gradients of a method or baseline, from the same weights."""
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=10, in_channels=2, **settings).train()
    return list(gradients_of(model, name, images, labels).values())


def gradients_of(model, name, images, labels):
    if name in BASELINES:
        baseline = BASELINES[name](model, T, images)
        model = baseline.network
        baseline.step(images, labels)
    else:
        create_method(name, T).step(model, images, labels)
    # memopt puts its wrapper's name into those of the parameters.
    return {name.replace("_checkpoint_wrapped_module.", ""): each.grad for name, each in model.named_parameters()}


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(
    ("baseline", "method", "settings"),
    [
        ("spikingjelly", "bptt", PAPER),
        ("spikingjelly", "bptt", PAPER | {"surrogate": "atan", "surrogate_args": {"alpha": 1.0}}),
        ("spikingjelly", "bptt", PAPER | {"reset": "hard", "v_reset": 0.1, "detach_reset": False}),
        ("spikingjelly", "bptt", PAPER | {"decay": 1.0}),
        ("memopt", "spikingjelly", PAPER),
        ("memopt", "bptt", PAPER | {"reset": "hard", "v_reset": 0.1, "detach_reset": False}),
        ("checkpoint", "spikingjelly", PAPER),
        ("checkpoint", "bptt", PAPER | {"reset": "hard", "v_reset": 0.1, "detach_reset": False}),
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


def small_resnet():
    """Blocks, and a stem that is none."""
    torch.manual_seed(0)
    return initialised(ResNet([1, 1], [8, 16], 2, small_neuron, nn.Linear(16, 4)), "kaiming").double()


def small_sew():
    """A list of layers with blocks among them, which add spikes to spikes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), small_neuron(), nn.MaxPool2d(2)]
    layers += [SEWBlock(8, 8, 1, small_neuron), SEWBlock(8, 16, 2, small_neuron)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)]
    return initialised(nn.Sequential(*layers), "kaiming").double()


small_neuron = partial(LIF, decay=0.5)
SMALL_NETWORKS = {"resnet": small_resnet, "sew": small_sew}


def small_spikformer(patch=4):
    torch.manual_seed(0)
    return spikformer(1, 16, 2, patch, num_classes=4, in_channels=2, neuron=small_neuron).double()


@pytest.mark.parametrize(("network", "baseline"), [("resnet", "memopt"), ("resnet", "checkpoint"), ("sew", "memopt")])
def test_blocks_that_are_computed_again_have_the_gradient_of_spikingjellys_bptt_and_keep_less(network, baseline):
    torch.manual_seed(1)
    images, labels = torch.rand(4, 2, 16, 16, dtype=torch.float64), torch.arange(4)
    kept = []
    gradients = []
    for name in ("spikingjelly", baseline):
        baseline = BASELINES[name](SMALL_NETWORKS[network](), T, images)
        trains = baseline.network
        for _ in range(2):  # a second batch finds nothing of the first in the neurons
            trains.zero_grad()
            kept.append(saved_bytes(partial(baseline.step, images, labels), trains.parameters()))
        gradients.append([parameter.grad for parameter in trains.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
    assert kept[2] < 0.4 * kept[0]


@pytest.mark.parametrize(
    ("baseline", "method"), [("spikingjelly", "bptt"), ("memopt", "spikingjelly"), ("checkpoint", "spikingjelly")]
)
def test_spikingjellys_spikformer_has_the_gradient_of_our_bptt_also_where_blocks_are_computed_again(baseline, method):
    torch.manual_seed(1)
    images, labels = torch.rand(4, 2, 8, 8, dtype=torch.float64), torch.arange(4)
    found = gradients_of(small_spikformer(), baseline, images, labels)
    expected = gradients_of(small_spikformer(), method, images, labels)
    for theirs, (name, gradient) in zip(found.values(), expected.items(), strict=True):
        assert gradient.abs().max() > 0, name
        assert torch.allclose(theirs.reshape(gradient.shape), gradient, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("network", ["convnet", "vgg11", "resnet19", "sew_resnet34", "preact_resnet34"])
def test_every_neuron_is_in_one_block(network):
    model = create_model(network, num_classes=4, in_channels=2, decay=0.5)
    converted = BASELINES["spikingjelly"](model, T, IMAGES).network
    found = blocks(converted)
    inside = [module for block in found for module in block.modules() if isinstance(module, neuron.BaseNode)]
    everywhere = [module for module in converted.modules() if isinstance(module, neuron.BaseNode)]
    assert set(inside) == set(everywhere) and len(inside) == len(everywhere)
    assert len(found) > 1 and converted not in found


def test_what_spikingjelly_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"no Spikformer of this size: .*patch_size=4 or 16"):
        BASELINES["spikingjelly"](small_spikformer(patch=2), T, IMAGES)
    model = create_model("convnet", num_classes=10, in_channels=2, decay=0.0)
    with pytest.raises(ValueError, match=r"no neuron\.decay = 0"):
        BASELINES["spikingjelly"](model, T, IMAGES)
    with pytest.raises(ValueError, match="spikingjelly has no neuron OwnLIF: leave it out of --against"):
        BASELINES["spikingjelly"](nn.Sequential(OwnLIF()), T, IMAGES)


@pytest.mark.parametrize("baseline", ["spikingjelly", "memopt", "checkpoint"])
def test_a_baseline_predicts_what_we_predict(baseline):
    torch.manual_seed(1)
    images = torch.rand(4, 2, 16, 16, dtype=torch.float64)
    ours, theirs = small_resnet(), BASELINES[baseline](small_resnet(), T, images)
    expected = predict(ours, images, T).mean(0)
    assert expected.abs().max() > 0
    for _ in range(2):  # the second one finds nothing of the first in the neurons
        assert torch.allclose(theirs.predict(images), expected, rtol=1e-9, atol=1e-12)
    assert all(module.training for module in theirs.network.modules())


def test_a_prediction_of_the_ann_is_one_pass():
    images = torch.rand(4, 2, 16, 16, dtype=torch.float64)
    ann = BASELINES["ann"](small_resnet(), T, images)
    assert weighted_operations(lambda: ann.predict(images)) == weighted_operations(
        lambda: predict(small_resnet(), images, 1)
    )


def test_a_network_with_torchs_dropout_has_spikingjellys_in_its_place():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), LIF(decay=0.5), nn.Dropout(0.25), nn.Linear(6, 3))
    step = BASELINES["spikingjelly"](network, 2, IMAGES).step
    assert (type(network[3]), network[3].p) == (layer.Dropout, 0.25)
    step(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0]))
    assert network[1].weight.grad is not None


def test_only_neurons_are_reset_and_no_layer_whose_reset_means_something_else():
    class Head(nn.Linear):
        def reset(self, num_classes):
            """timm's heads make a layer for other classes."""
            raise AssertionError

    network = nn.Sequential(nn.Conv2d(2, 4, 3), LIF(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Head(4, 3))
    step = BASELINES["spikingjelly"](network, T, IMAGES).step
    for images in (torch.rand(2, 2, 8, 8), torch.rand(3, 2, 8, 8)):
        step(images, torch.zeros(len(images), dtype=torch.long))
