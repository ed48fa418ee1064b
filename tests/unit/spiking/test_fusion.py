"""Batch norms and sums that neuron layers carry out give what they give where they stand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

T, B = 4, 5


class Residual(nn.Module):
    """Two blocks whose neurons receive batch norms, in training and in evaluation, and the sum of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF())
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.shortcut = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6).eval())
        self.neurons, self.head = LIF(detach_reset=False), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.head(self.neurons(self.branch(x) + self.shortcut(x)).mean((2, 3)))
        return out


def noting_inputs(model: Residual, look: Callable[[Any], Any]) -> list[Any]:
    """What `look` finds of what the second neurons receive, in order."""
    found: list[Any] = []
    model.neurons.register_forward_pre_hook(lambda module, args: found.append(look(args[0])))
    return found


def without_fusion(model: Residual) -> Residual:
    """The model, where batch norms and sums before neurons are computed before the neurons."""

    def compute(module: nn.Module, args: Any) -> None:
        args[0].resolve()

    for module in model.modules():
        if isinstance(module, LIF):
            module.register_forward_pre_hook(compute)
    return model


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "bptt"])
def test_a_step_without_fusion_gives_the_same_gradients_and_running_statistics(method: str) -> None:
    torch.manual_seed(0)
    fused = Residual().double()
    plain = without_fusion(copy.deepcopy(fused))
    deferred, computed = (noting_inputs(model, lambda x: x.deferred) for model in (fused, plain))
    images, labels = 2 * torch.rand(T, B, 2, 6, 6, dtype=torch.float64), torch.arange(B) % 3
    create_method(method, T).step(fused, images, labels)
    create_method(method, T).step(plain, images, labels)
    assert all(deferred) and deferred and computed and not any(computed)
    for (name, one), other in zip(fused.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-14, msg=name)
        assert one.grad.abs().max() > 0
    torch.testing.assert_close(dict(fused.named_buffers()), dict(plain.named_buffers()), rtol=1e-12, atol=0)


@pytest.mark.parametrize("method", ["bptt_s", "sltt", "ottt"])
def test_a_sum_of_one_timestep_is_computed_where_it_stands_with_the_same_gradients(method: str) -> None:
    images, labels = 2 * torch.rand(T, B, 2, 6, 6, dtype=torch.float64), torch.arange(B) % 3
    gradients, terms = [], []
    for fused in (True, False):
        torch.manual_seed(0)
        model = Residual().double()
        terms.append(noting_inputs(model if fused else without_fusion(model), lambda x: len(x._terms)))
        create_method(method, T).step(model, images, labels)
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert terms == [[2] * T, [1] * T]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
