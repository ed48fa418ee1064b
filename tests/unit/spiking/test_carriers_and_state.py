"""Inspecting a carrier changes nothing, and a deferred sum can be computed wherever it is needed."""

from functools import cached_property

import pytest
import torch
from torch import distributed, nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF, Carrier
from rbp_engine.spiking.synchronised_batch_norm import synchronise_batch_norm

T, B = 3, 4


class PreActivation(nn.Module):
    """A sum of a batch norm and spikes that is read by a batch norm, a convolution and another sum."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), LIF())
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.norm, self.neurons, self.conv = nn.BatchNorm2d(4), LIF(), nn.Conv2d(4, 4, 3, padding=1)
        self.shortcut, self.last, self.out = nn.Conv2d(4, 4, 1), LIF(), nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        x = self.branch(x) + x
        y = self.conv(self.neurons(self.norm(x)))
        return self.out(self.last(self.norm(y) + self.shortcut(x) + x).mean((2, 3)))


def step(model, name):
    images = torch.rand(T, B, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    out = create_method(name, T).step(model, images, torch.arange(B))
    return [out.logits, *(parameter.grad for parameter in model.parameters()), *model.buffers()]


def look_at(carrier):
    """Read every attribute and property, as a debugger does that shows an object."""
    for kind in type(carrier).__mro__:
        for name, attribute in vars(kind).items():
            if isinstance(attribute, (property, cached_property)):
                getattr(carrier, name)
    for term in carrier.current.terms if hasattr(carrier, "current") else ():
        term.steps.time_mean()


@pytest.mark.parametrize("with_graph", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_inspecting_every_carrier_changes_no_bit_of_a_step(name, with_graph):
    watched, left_alone, seen = PreActivation(), PreActivation(), []

    def watch(module, args, out):
        for carrier in (*args, out):
            if isinstance(carrier, Carrier):
                with torch.set_grad_enabled(with_graph and torch.is_grad_enabled()):
                    look_at(carrier)
                seen.append(module)

    for module in watched.modules():
        module.register_forward_hook(watch)
    for found, expected in zip(step(watched, name), step(left_alone, name), strict=True):
        assert torch.equal(found, expected)
    assert watched.norm in seen


@pytest.mark.parametrize("name", ["rate_m", "rate_s"])
def test_a_gradient_proxy_of_a_layer_or_of_neurons_takes_the_memory_of_one_number(name):
    model, found = PreActivation(), []

    def watch(module, args, out):
        proxy = out.current.terms[0].steps.grad_proxy
        if proxy is not None and isinstance(module, (nn.Conv2d, nn.Linear, LIF)):
            found.append((proxy.shape == out.shape, proxy.untyped_storage().nbytes(), proxy.requires_grad))

    for module in model.modules():
        module.register_forward_hook(watch)
    step(model, name)
    assert found == [(True, 4, True)] * 8


@pytest.fixture
def a_group_of_one():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed.group.WORLD
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", METHODS)
def test_synchronised_batch_norm_of_a_shared_sum_equals_that_of_one_process(name, a_group_of_one):
    alone, synchronised = PreActivation(), PreActivation()
    synchronise_batch_norm(synchronised, a_group_of_one)
    torch.testing.assert_close(step(synchronised, name), step(alone, name), rtol=1e-4, atol=1e-6)
