"""The gradient of a weight larger than its layer's output is computed after the rest of the backward pass."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import METHODS
from rbp_engine.spiking import LIF
from rbp_engine.spiking.linear import OpenCall, layer_gradient
from rbp_engine.spiking.steps import TimeConstant

IMAGES, LABELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])


class Network(nn.Module):
    """The weight of the second convolution is larger than its output, those of the others are not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.large, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 32, 6), nn.Conv2d(32, 2, 1)
        self.neurons = nn.ModuleList(LIF() for _ in range(2))

    def forward(self, x):
        x = self.neurons[0](self.first(x) * 3)
        return self.last(self.neurons[1](self.large(x) * 3)).flatten(1)


def order_of_gradients(model, method):
    arrived = []
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.append(name))
    method.step(model, IMAGES, LABELS)
    return arrived


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
def test_the_gradient_of_the_large_weight_comes_last(name):
    arrived = order_of_gradients(Network(), METHODS[name](timesteps=2))
    assert sorted(arrived) == sorted(name for name, _ in Network().named_parameters())
    assert arrived[-1] == "large.weight"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["rate_m", "rate_s", "ottt"])
def test_computing_it_late_changes_no_bit_of_any_gradient(name, precision, monkeypatch):
    gradients = []
    for late in (True, False):
        if not late:
            monkeypatch.setattr("rbp_engine.spiking.linear.with_late_gradient", lambda weight, out: (weight, None))
        model = Network()
        METHODS[name](timesteps=2, precision=precision).step(model, IMAGES, LABELS)
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_a_late_gradient_that_is_never_computed_is_freed():
    """A backward pass to the input alone never reaches the weight."""
    x, weight = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(8, 4, 3, 3, requires_grad=True)
    seen = torch.randn(2, 4, 3, 3)
    layer, received = OpenCall(F.conv2d, (None, weight), {}, (0,)), TimeConstant(seen, grad_proxy=x)
    out = layer_gradient(layer, received, torch.empty(2, 8, 1, 1))
    torch.autograd.grad(out.sum(), x)
    kept = weakref.ref(seen)
    del seen, received, out
    gc.collect()
    assert kept() is None
