"""The plain definition of a step, where random networks (tests/fuzz) do not go."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF, UnsupportedOperation

REFERENCE = ("rate_m", "rate_s", "bptt")


class MaskedAttention(nn.Module):
    """Attention whose scores are −∞ where a token would see a later one."""

    def __init__(self):
        super().__init__()
        self.inwards, self.neuron, self.out = nn.Linear(6, 24), LIF(), nn.Linear(8, 4)

    def forward(self, images):
        tokens = self.neuron(self.inwards(images.flatten(2).transpose(1, 2)))
        query, key, value = tokens.chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(query, key, value, is_causal=True).mean(1))


def gradients(model, method, images, **settings):
    found = copy.deepcopy(model)
    create_method(method, 4, **settings).step(found, images, torch.arange(len(images)) % 4)
    return [parameter.grad for parameter in found.parameters() if parameter.grad is not None]


@pytest.mark.filterwarnings("ignore:softmax gives numbers that are no spikes")
@pytest.mark.parametrize("method", REFERENCE)
def test_it_gives_the_gradient_of_masked_attention(method):
    torch.manual_seed(0)
    model = MaskedAttention().double()
    images = 3 * torch.rand(5, 6, 2, 2, dtype=torch.float64)
    for found, expected in zip(
        gradients(model, method, images, reference=True), gradients(model, method, images), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", REFERENCE)
def test_it_trains_the_networks_of_presets_in_their_type(method):
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=4, in_channels=1)
    images = torch.rand(8, 1, 8, 8)
    for found, expected in zip(
        gradients(model, method, images, reference=True), gradients(model, method, images), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_rate_s_refuses_batch_norms_that_count_batches_for_their_momentum():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=None), LIF(), nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(ValueError, match=r"1: the reference of rate_s needs a batch norm with a momentum"):
        gradients(model, "rate_s", torch.rand(4, 1, 6, 6), reference=True)


def test_batch_norms_over_several_processes_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), LIF(), nn.Flatten(), nn.Linear(64, 4))
    model[1].register_forward_pre_hook(lambda module, given: setattr(given[0], "processes", object()))
    with pytest.raises(UnsupportedOperation, match="the reference is for one"):
        gradients(model, "rate_m", torch.rand(4, 1, 6, 6), reference=True)
