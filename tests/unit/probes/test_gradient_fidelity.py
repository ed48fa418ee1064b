"""The angle between a method's gradient and BPTT's, against a separate computation."""

import copy

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.gradient_fidelity import REFERENCE, gradient_fidelity
from rbp_engine.probes.layers import weight_layers
from rbp_engine.spiking import LIF
from rbp_engine.vocabulary import RATE_METHODS


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(), nn.Dropout(0.2), nn.Conv2d(6, 6, 3, padding=1),
        nn.BatchNorm2d(6), LIF(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 4),
    ).double()  # fmt: skip


def batch(timesteps=None):
    draw = torch.Generator().manual_seed(1)
    shape = (8, 2, 6, 6) if timesteps is None else (timesteps, 8, 2, 6, 6)
    return torch.rand(shape, generator=draw, dtype=torch.float64) * 2.0, torch.arange(8) % 4


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "ottt"])
def test_at_several_it_is_the_angle_of_the_gradients_of_two_steps(method):
    model = network()
    found = gradient_fidelity(model, create_method(method, 4), *batch(4), seed=5)
    gradients = []
    for name in (method, REFERENCE[method]):
        twin = copy.deepcopy(model)
        torch.manual_seed(5)
        create_method(name, 4).step(twin, *batch(4))
        gradients.append({name: weight.grad for name, weight in twin.named_parameters()})
    factor = 4.0 if method in RATE_METHODS else 1.0
    for layer in ("0", "4", "9"):
        one, other = (known[f"{layer}.weight"] for known in gradients)
        assert one is not None and other is not None
        cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()
        assert found.by_weight[layer].cosine == pytest.approx(cosine, abs=1e-6)
        ratio = factor * (one.norm() / other.norm()).item()
        assert found.by_weight[layer].norm_ratio == pytest.approx(ratio, rel=1e-6)
    assert found.whole.cosine is not None and 0.5 < found.whole.cosine < 1.0
    assert list(found.by_weight) == ["0", "4", "9"]


@pytest.mark.parametrize("method", METHODS)
def test_at_t_1_the_gradient_is_that_of_bptt(method):
    found = gradient_fidelity(network(), create_method(method, 1), *batch())
    for one in (found.whole, *found.by_weight.values()):
        assert (one.cosine, one.norm_ratio) == pytest.approx((1.0, 1.0), abs=1e-6)


def test_a_weight_without_a_gradient_has_no_angle():
    model = network()
    with torch.no_grad():
        model[5].bias.fill_(-50.0)  # the second neurons never fire, and have no slope
    found = gradient_fidelity(model, create_method("rate_m", 3), *batch())
    assert found.by_weight["9"].cosine is None


def test_every_weight_of_a_module_that_has_several_has_an_angle():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
    assert set(weight_layers(attention)) == {"q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj"}
    assert list(weight_layers(network())) == ["0", "4", "9"]
