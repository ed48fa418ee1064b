"""Peak memory of a training step and its growth with T, counted in bytes of live tensors."""

import pytest
import torch
from torch import nn

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


def peak(method, timesteps, static=True, **settings):
    model, labels = network(), torch.tensor([0, 1])
    shape = (B, 2, SIZE, SIZE) if static else (timesteps, B, 2, SIZE, SIZE)
    images = torch.randn(shape)
    step = create_method(method, timesteps, **settings).step
    return tensor_memory(lambda: step(model, images, labels))[0]


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
