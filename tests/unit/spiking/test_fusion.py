"""Batch norms and sums that neuron layers carry out give what they give where they stand."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF, unfused

T, B = 4, 5


class Residual(nn.Module):
    """Two blocks whose neurons receive batch norms, in training and in evaluation, and the sum of them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF())
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.shortcut = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6).eval())
        self.neurons, self.head = LIF(detach_reset=False), nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        received = self.branch(x) + self.shortcut(x)
        self.deferred = received.current.deferred
        return self.head(self.neurons(received).mean((2, 3)))


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "bptt"])
def test_a_step_without_fusion_gives_the_same_gradients_and_running_statistics(method):
    torch.manual_seed(0)
    fused = Residual().double()
    plain = copy.deepcopy(fused)
    images, labels = 2 * torch.rand(T, B, 2, 6, 6, dtype=torch.float64), torch.arange(B) % 3
    create_method(method, T).step(fused, images, labels)
    with unfused():
        create_method(method, T).step(plain, images, labels)
    assert fused.deferred and not plain.deferred
    for (name, one), other in zip(fused.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-14, msg=name)
        assert one.grad.abs().max() > 0
    torch.testing.assert_close(dict(fused.named_buffers()), dict(plain.named_buffers()), rtol=1e-12, atol=0)


class PartlyWithoutGraph(nn.Module):
    """A batch norm in front of neurons, and a sum with it: formed under no_grad, or looked at there."""

    def __init__(self, part):
        super().__init__()
        self.part = part
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.first, self.last, self.head = LIF(), LIF(), nn.Linear(6, 3)

    def forward(self, x):
        with torch.set_grad_enabled(self.part != "stem" and torch.is_grad_enabled()):
            x = self.stem(x)
        x = self.first(x)
        with torch.set_grad_enabled(self.part != "branch" and torch.is_grad_enabled()):
            branch = self.branch(x)
        with torch.set_grad_enabled(self.part != "sum" and torch.is_grad_enabled()):
            received = branch + x
        if self.part == "look":
            with torch.no_grad():
                self.seen = received.mean((2, 3))
        return self.head(self.last(received).mean((2, 3)))


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "bptt"])
@pytest.mark.parametrize("part", ["stem", "branch", "sum", "look"])
def test_what_is_deferred_has_the_graph_that_it_was_formed_with(method, part):
    torch.manual_seed(0)
    fused = PartlyWithoutGraph(part).double()
    plain = copy.deepcopy(fused)
    images, labels = 2 * torch.rand(T, B, 2, 6, 6, dtype=torch.float64), torch.arange(B) % 3
    create_method(method, T).step(fused, images, labels)
    with unfused():
        create_method(method, T).step(plain, images, labels)
    for (name, one), other in zip(fused.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-14, msg=name)
    trained = {name.partition(".")[0] for name, parameter in fused.named_parameters() if parameter.grad is not None}
    left_out = {"stem": {"stem"}, "branch": {"branch"}, "sum": {"stem", "branch"}, "look": set()}
    assert trained == {"stem", "branch", "head"} - left_out[part]
