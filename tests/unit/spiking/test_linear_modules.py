"""Modules around linear operations: parametrised, weight-normalised and lazy ones; products with traces; einops."""

import copy

import einops
import pytest
import torch
import torch.nn.functional as F
from einops.layers.torch import Rearrange
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF

T, B = 3, 4


def stepped(model, name):
    images = torch.randn(T, B, 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out = create_method(name, T).step(model, images, torch.arange(B) % 3)
    return [out.logits, *(parameter.grad for parameter in model.parameters())]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def cell():
    return LIF(0.4, 0.5, surrogate_args={"alpha": 3.0})


def network(layer):
    """The layer between two neurons; it takes and returns [B, 4, 6, 6]."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), cell(), layer, cell(), nn.Flatten(), nn.Linear(144, 3)).double()


class Product(nn.Module):
    """One layer by two operations; `F.linear` is the one whose gradients other tests prove."""

    def __init__(self, by_einops):
        super().__init__()
        self.by_einops = by_einops
        self.w = nn.Parameter(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64))

    def forward(self, x):
        return einops.einsum(x, self.w, "b c h w, k w -> b c h k") if self.by_einops else F.linear(x, self.w)


@pytest.mark.parametrize("name", METHODS)
def test_a_product_with_a_parameter_is_a_linear_layer(name):
    """For ottt as well, whose weights see traces."""
    close(stepped(network(Product(True)), name), stepped(network(Product(False)), name))


@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm, parametrizations.orthogonal])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_weight_that_is_computed_has_the_gradient_of_one_that_is_not(name, norm):
    """∂L/∂(what it is computed from) is that of the weight, passed on."""
    plain = nn.Linear(6, 6, bias=False).double()
    normed = norm(copy.deepcopy(plain))
    with torch.no_grad():
        plain.weight.copy_(normed.weight)
    stepped(network(plain), name)
    stepped(network(normed), name)
    originals = list(normed.parameters())
    if norm is weight_norm:
        normed(torch.zeros(1, 6, dtype=torch.float64))  # computes the weight
    wanted = torch.autograd.grad(normed.weight, originals, plain.weight.grad)
    close([parameter.grad for parameter in originals], wanted)


@pytest.mark.parametrize("name", METHODS)
def test_lazy_modules_are_made_by_the_first_step(name):
    stem = nn.LazyConv2d(4, 3, padding=1), nn.LazyBatchNorm2d(), cell()
    model = nn.Sequential(*stem, Rearrange("b c h w -> b (h w c)"), nn.LazyLinear(3))
    stepped(model, name)
    assert [list(parameter.shape) for parameter in model.parameters()] == [[4, 2, 3, 3], [4], [4], [4], [3, 144], [3]]
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters() if parameter.ndim > 1)
