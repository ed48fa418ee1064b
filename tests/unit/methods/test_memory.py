"""Peak memory of a training step and its growth with T, counted in bytes of live tensors."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF

B, SIZE = 2, 16


class PeakMemory(TorchDispatchMode):
    """Counts the storages of all tensors that torch's operations create, from their creation until they are freed."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        made = {tensor.untyped_storage() for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor)}
        given = {tensor.untyped_storage() for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)}
        for storage in made - given:
            if storage not in self.known:
                self.known.add(storage)
                self.live += storage.nbytes()
                weakref.finalize(storage, self.free, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def free(self, count):
        self.live -= count


def network():
    """Four convolutions without pooling, so that the tensors over time outweigh the weights."""
    torch.manual_seed(0)
    layers, channels = [], 2
    for _ in range(4):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), LIF()]
        channels = 8
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def peak(method, timesteps, static=True, **settings):
    model, labels = network(), torch.tensor([0, 1])
    shape = (B, 2, SIZE, SIZE) if static else (timesteps, B, 2, SIZE, SIZE)
    images = torch.randn(shape)
    with PeakMemory() as memory:
        create_method(method, timesteps, **settings).step(model, images, labels)
    return memory.peak


def test_the_counter_counts_tensors_that_live_at_the_same_time():
    with PeakMemory() as memory:
        x = torch.ones(1000)
        y = (x + 1).relu_()  # one new tensor, then changed in place
        view = y.view(10, 100)
        del x, y
        assert memory.live == 4000
        del view
        assert memory.live == 0
        assert memory.peak == 8000


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("method", ["rate_s", "sltt", "ottt"])
def test_peak_memory_does_not_grow_with_t(method, static):
    assert peak(method, 16, static) <= 1.15 * peak(method, 2, static)


@pytest.mark.parametrize("method", ["bptt", "bptt_s"])
def test_peak_memory_of_bptt_grows_with_t(method):
    assert peak(method, 16) > 4 * peak(method, 2)


def test_rate_s_needs_less_than_rate_m_and_both_less_than_bptt():
    by_method = [peak(method, 8) for method in ("rate_s", "rate_m", "bptt_s", "bptt")]
    assert by_method[0] < by_method[1] < min(by_method[2:])
