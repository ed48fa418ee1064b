"""SLTT and OTTT compared with SpikingJelly's own nodes and layers, without batch norm."""

import copy

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based.layer import OTTTSequential
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

T, B = 4, 5
LABELS = torch.tensor([0, 1, 2, 0, 1])
ALPHA = 2.5


def network(decay, v_reset, pool=nn.AvgPool2d):
    """Two convolutions and two linear layers, with weights large enough that all neurons fire."""
    torch.manual_seed(2)
    settings = {"reset": "soft"} if v_reset is None else {"reset": "hard", "v_reset": v_reset}

    def cell():
        return LIF(decay, 0.8, surrogate_args={"alpha": ALPHA}, **settings)

    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), cell(), pool(2), nn.Conv2d(6, 6, 3, padding=1, stride=2, bias=False), cell(),
        nn.Flatten(), nn.Linear(24, 8), cell(), nn.Linear(8, 3),
    ).double()  # fmt: skip
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0.05, (3.0 / layer.weight[0].numel()) ** 0.5)
    return model


def spikingjellys(model, node):
    """The same layers in SpikingJelly's container, with its nodes instead of our neurons."""

    def twin(layer):
        if not isinstance(layer, LIF):
            return copy.deepcopy(layer)
        return node(
            tau=1.0 / (1.0 - layer.decay), decay_input=False, v_threshold=layer.threshold, v_reset=layer.v_reset,
            surrogate_function=surrogate.Sigmoid(alpha=ALPHA),
        )  # fmt: skip

    container = OTTTSequential if node is neuron.OTTTLIFNode else nn.Sequential
    return container(*[twin(layer) for layer in model])


def oracle_step(model, steps):
    """Forward and backward at every step, adding up the gradients; returns the mean logits."""
    functional.reset_net(model)
    logits = []
    for x in steps:
        out = model(x)
        (F.cross_entropy(out, LABELS) / T).backward()
        logits.append(out.detach())
    return torch.stack(logits).mean(0)


def images(static):
    x = 1.5 * torch.randn(T, B, 2, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x[0] if static else x


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


NODES = {"sltt": neuron.SLTTLIFNode, "ottt": neuron.OTTTLIFNode}


@pytest.mark.parametrize(
    ("static", "decay", "v_reset", "pool"),
    [(False, 0.2, None, nn.AvgPool2d), (True, 0.5, 0.0, nn.MaxPool2d), (False, 0.9, -0.3, nn.MaxPool2d)],
)
@pytest.mark.parametrize("method", NODES)
def test_gradients_equal_those_of_spikingjellys_nodes_and_layers(method, static, decay, v_reset, pool):
    model = network(decay, v_reset, pool)
    theirs, x = spikingjellys(model, NODES[method]), images(static)
    output = create_method(method, T).step(model, x, LABELS)
    logits = oracle_step(theirs, x.expand(T, *x.shape) if static else x)
    torch.testing.assert_close(output.logits, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(output.loss, F.cross_entropy(logits, LABELS), rtol=1e-9, atol=1e-9)
    expected = gradients(theirs)
    assert all(gradient.abs().max() > 1e-4 for gradient in expected.values())
    torch.testing.assert_close(gradients(model), expected, rtol=1e-6, atol=1e-9)
