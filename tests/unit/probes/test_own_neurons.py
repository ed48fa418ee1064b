"""Probes and energy see LIF in another form as they see LIF.

Neurons that learn have the values of the fixed ones that they are compared with.
"""

from functools import partial

import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.methods.protocol import predict
from rbp_engine.probes.energy import measure_energy
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import gradient_fidelity
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.spiking import LIF, PLIF
from tests.own_neurons import OwnLIF, documented

T = 3
DECAY, THRESHOLD = 0.4, 0.7
FORMS = {
    "learnt by layer": partial(LIF, learn=["decay", "threshold"]),
    "learnt by channel": partial(LIF, learn=["decay", "threshold"], learn_by="channel"),
    "own": OwnLIF,
}


def hard(kind):
    """A function that makes such a neuron with the values of all forms."""
    return partial(kind, DECAY, THRESHOLD, reset="hard", v_reset=-0.3)


def network(neuron):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), neuron(),
        nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), neuron(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(20, 3),
    ).double()  # fmt: skip
    predict(model, batch()[0], T)  # what is learnt by channel gets its shape
    return model


def batch():
    draw = torch.Generator().manual_seed(3)
    return 3.0 * torch.rand(T, 6, 2, 4, 4, generator=draw, dtype=torch.float64), torch.arange(6) % 3


def sampled(model, method):
    neurons = neuron_layers(model)
    probes = Probes([SpikeWatch(neurons, T, every=1), HealthProbe(neurons, weight_layers(model), every=1)])
    with probes.watch(1):
        create_method(method, T).step(model, *batch())
    probes.measure(1)
    return [body for _, body in probes.take()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_firing_rates_and_health_are_those_of_fixed_lif(method, form):
    rates, health = sampled(network(hard(FORMS[form])), method)
    fixed_rates, fixed = sampled(network(hard(LIF)), method)
    assert rates == fixed_rates
    learnt = ([pytest.approx(DECAY)] * 2, [pytest.approx(THRESHOLD)] * 2) if form != "own" else ([], [])
    assert (health.decay, health.threshold) == learnt
    assert health.in_window == pytest.approx(fixed.in_window)
    for found, expected in (
        *zip(health.eligibility, fixed.eligibility, strict=True),
        (health.gradient_norm, fixed.gradient_norm),
    ):
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_so_are_the_errors_of_the_assumption_and_the_angles(method, form):
    own, fixed = (
        gradient_fidelity(network(hard(kind)), create_method(method, T), *batch()) for kind in (FORMS[form], LIF)
    )
    assert own.neuron_error == pytest.approx(fixed.neuron_error, rel=1e-4)
    assert own.weight_error == pytest.approx(fixed.weight_error, rel=1e-4)
    for found, expected in zip(own.by_weight.values(), fixed.by_weight.values(), strict=True):
        assert vars(found) == pytest.approx(vars(expected), rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_energy_counts_them_and_says_whose_cost_it_does_not_know(form):
    found, fixed = (measure_energy(network(hard(kind)), batch()[0], T) for kind in (FORMS[form], LIF))
    assert (found.neurons.updates, found.neurons.spikes) == (fixed.neurons.updates, fixed.neurons.spikes)
    assert [layer.synops for layer in found.layers] == [layer.synops for layer in fixed.layers]
    assert set(found.uncounted) - set(fixed.uncounted) == ({"OwnLIF × 2"} if form == "own" else set())
    assert found == fixed or form == "own"


def test_neurons_of_several_tensors_and_with_parameters_have_health():
    for name in ("AdaptiveLIF", "CurrentLIF"):
        model = network(getattr(documented(), name))
        rates, health = sampled(model, "rate_m")
        assert all(0.0 < rate < 1.0 for layer in rates.rates for rate in layer)
        assert all(0.0 < share < 1.0 for share in health.in_window)
        assert gradient_fidelity(model, create_method("rate_m", T), *batch()).whole.cosine > 0.5


def test_beside_a_lif_that_learns_own_neurons_have_no_decay_and_threshold():
    kinds = iter((PLIF(0.5), OwnLIF(0.5)))
    _, health = sampled(network(lambda: next(kinds)), "rate_m")
    assert health.decay == [0.5, None] and health.threshold == [1.0, None]
