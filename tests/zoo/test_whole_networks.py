"""Whole networks of torchvision, timm and ours, in float64: the rate gradient of every weight against its definition,
which tests/fuzz holds against oracles, and spikes against those of plain tensors.

`make test` takes four of them, `make zoo` all.
"""

import copy
import os

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from rbp_engine.methods import create_method, reset_state
from rbp_engine.models.qkformer import Stage, TokenQKAttention, qkformer
from rbp_engine.models.spikformer import SpikingSelfAttention, spikformer
from rbp_engine.spiking import LIF, make_spiking

T, B, CLASSES = 3, 2, 4


def torchvisions(name, **settings):
    return lambda: torchvision.models.get_model(name, num_classes=CLASSES, **settings)


def timms(name, **settings):
    return lambda: timm.create_model(name, num_classes=CLASSES, **settings)


def convnext():
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)]
    return torchvision.models.ConvNeXt(blocks, stochastic_depth_prob=0.0, num_classes=CLASSES)


def swin():
    return torchvision.models.SwinTransformer(
        [4, 4], 8, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, num_classes=CLASSES
    )


OURS = {"num_classes": CLASSES, "in_channels": 3, "neuron": lambda: LIF(threshold=0.25)}
STAGES = (
    Stage((8,), (True,), 1, TokenQKAttention),
    Stage((8, 16), (False, True), 1, SpikingSelfAttention, mlp_ratio=2),
)
NETWORKS = {
    "resnet": torchvisions("resnet18"),
    "mobilenet_v3": torchvisions("mobilenet_v3_small"),
    "shufflenet": torchvisions("shufflenet_v2_x0_5"),
    "regnet_y": torchvisions("regnet_y_400mf"),
    "convnext": convnext,
    "swin": swin,
    "timm vit": timms("test_vit", img_size=32),
    "timm gmlp": timms("gmlp_ti16_224", img_size=32),
    "timm convnext v2": timms("test_convnext2"),
    "timm convit": timms("convit_tiny", img_size=32, depth=2, local_up_to_layer=1),
    "spikformer": lambda: spikformer(1, 16, 2, 4, **OURS),
    "qkformer": lambda: qkformer({4: False}, STAGES, 2, **OURS),
}
#: A neuron that is called twice has one membrane for both calls on plain tensors.
TWICE = {"resnet"}
CHOSEN = list(NETWORKS) if os.environ.get("RBP_ZOO") else ["convnext", "timm vit", "spikformer", "qkformer"]


def made(name):
    torch.manual_seed(0)
    network, _ = make_spiking(NETWORKS[name](), lambda: LIF(threshold=0.25))
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "eps", None), float):
            module.eps = 0.1  # norms of silent neurons divide by √ε, quotients by ε: layers of that leave only rounding
    return network.double()


@pytest.mark.filterwarnings("ignore:.* that are no spikes")
@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
@pytest.mark.parametrize("name", CHOSEN)
def test_every_weight_has_the_rate_gradient_of_the_definition_and_spikes_are_those_of_plain_tensors(name, method):
    network = made(name)
    images = torch.rand(B, 3, 32, 32, dtype=torch.float64) * 2 - 0.5
    expected, found = (
        gradients(network, create_method(method, T, loss_scale="1", reference=reference), images)
        for reference in (True, False)
    )
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    assert largest > 1e-6
    for key, gradient in expected.items():
        error = (found[key] - gradient).abs().max()
        assert error <= 1e-10 * max(gradient.abs().max(), 1e-2 * largest), f"{key}: off by {error:.2g}"
    if name in TWICE:
        return
    predicted = create_method(method, T).predict(network, images)
    reset_state(network.eval())
    with torch.no_grad():
        torch.testing.assert_close(predicted, torch.stack([network(images) for _ in range(T)]), rtol=1e-10, atol=1e-10)


def gradients(network, method, images):
    network = copy.deepcopy(network)
    method.step(network, images, torch.tensor([0, 2]))
    return {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}
