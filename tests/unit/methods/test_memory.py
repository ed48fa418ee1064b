"""What a training step needs and keeps for its backward, and how it grows with T, in bytes of tensors."""

import pytest
import torch
from torch import nn

from rbp_engine.bench.measure.counts import saved_bytes
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF
from tests.limits import tensor_memory

B, SIZE = 2, 16


def network():
    """Four convolutions without pooling, so that the tensors over time outweigh the weights."""
    torch.manual_seed(0)
    layers, channels = [], 2
    for _ in range(4):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), LIF()]
        channels = 8
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def step(method, timesteps, static):
    """A step of training, and the network."""
    model, labels = network(), torch.tensor([0, 1])
    shape = (B, 2, SIZE, SIZE) if static else (timesteps, B, 2, SIZE, SIZE)
    images = torch.randn(shape)
    return lambda: create_method(method, timesteps).step(model, images, labels), model


def peak(method, timesteps, static=True):
    return tensor_memory(step(method, timesteps, static)[0])[0]


def kept(method, timesteps):
    take, model = step(method, timesteps, static=False)
    return saved_bytes(take, model.parameters())


@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_what_the_rate_methods_keep_for_the_backward_does_not_grow_with_t(method):
    assert kept(method, 8) == kept(method, 2)


def test_what_bptt_keeps_grows_with_t():
    assert kept("bptt", 8) > 3.5 * kept("bptt", 2)


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
