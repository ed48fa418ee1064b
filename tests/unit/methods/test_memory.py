"""What a training step needs and keeps for its backward, and how it grows with T, in bytes of tensors."""

import pytest
import torch
from torch import nn

from rbp_engine.bench.measure.counts import saved_bytes
from rbp_engine.methods import create_method
from rbp_engine.spiking import LIF
from tests.limits import tensor_memory
from tests.own_neurons import OwnLIF

B, SIZE = 2, 16


def network(neuron, blocks):
    """Convolutions without pooling, so that the tensors over time outweigh the weights."""
    torch.manual_seed(0)
    layers, channels = [], 2
    for _ in range(blocks):
        layers += [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), neuron()]
        channels = 8
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def step(method, timesteps, static, neuron=LIF, blocks=4):
    """A step of training, and the network."""
    model, labels = network(neuron, blocks), torch.tensor([0, 1])
    shape = (B, 2, SIZE, SIZE) if static else (timesteps, B, 2, SIZE, SIZE)
    images = torch.randn(shape)
    return lambda: create_method(method, timesteps).step(model, images, labels), model


def peak(method, timesteps, static=True, neuron=LIF):
    take, _ = step(method, timesteps, static, neuron)
    take()  # the first step of a process imports what makes tensors, too
    return tensor_memory(take)[0]


def kept(method, timesteps, neuron=LIF, blocks=4):
    take, model = step(method, timesteps, False, neuron, blocks)
    return saved_bytes(take, model.parameters())


@pytest.mark.parametrize("neuron", [LIF, OwnLIF])
@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_what_the_rate_methods_keep_for_the_backward_does_not_grow_with_t(method, neuron):
    assert kept(method, 8, neuron) == kept(method, 2, neuron)


def test_what_bptt_keeps_grows_with_t():
    assert kept("bptt", 8) > 3.5 * kept("bptt", 2)


def test_of_a_block_bptt_keeps_the_input_and_output_of_its_convolution_and_no_membrane():
    timesteps = 8
    assert kept("bptt", timesteps, blocks=3) - kept("bptt", timesteps, blocks=2) == 2 * timesteps * B * 8 * SIZE**2 * 4


@pytest.mark.parametrize("static", [True, False], ids=["static", "varying"])
@pytest.mark.parametrize("method", ["rate_s", "sltt", "ottt"])
def test_peak_memory_does_not_grow_with_t(method, static):
    assert peak(method, 16, static) <= 1.15 * peak(method, 2, static)


def test_peak_memory_of_rate_s_with_a_neuron_of_ones_own_does_not_grow_with_t():
    assert peak("rate_s", 16, neuron=OwnLIF) <= 1.15 * peak("rate_s", 2, neuron=OwnLIF)


@pytest.mark.parametrize("method", ["bptt", "bptt_s"])
def test_peak_memory_of_bptt_grows_with_t(method):
    assert peak(method, 16) > 4 * peak(method, 2)


def test_rate_s_needs_less_than_rate_m_and_both_less_than_bptt():
    by_method = [peak(method, 8) for method in ("rate_s", "rate_m", "bptt_s", "bptt")]
    assert by_method[0] < by_method[1] < min(by_method[2:])
