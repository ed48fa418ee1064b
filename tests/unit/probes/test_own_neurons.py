"""Probes, energy and export see a neuron of a user's own as they see LIF, or refuse it by name."""

import pytest
import torch
from torch import nn

from rbp_engine.bench.baselines import BASELINES
from rbp_engine.export.operations import ExportError
from rbp_engine.export.walk import walk
from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.energy import measure_energy
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import gradient_fidelity
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import Health
from rbp_engine.spiking import LIF, PLIF
from tests.own_neurons import OwnLIF, documented

T = 3


def network(neuron):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), neuron(),
        nn.Conv2d(4, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), neuron(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(20, 3),
    )  # fmt: skip


def batch():
    return 3.0 * torch.rand(T, 6, 2, 4, 4, generator=torch.Generator().manual_seed(3)), torch.arange(6) % 3


def sampled(model, method):
    neurons = neuron_layers(model)
    probes = Probes([SpikeWatch(neurons, T, every=1), HealthProbe(neurons, weight_layers(model), every=1)])
    with probes.watch(1):
        create_method(method, T).step(model, *batch())
    probes.measure(1)
    return [body for _, body in probes.take()]


@pytest.mark.parametrize("method", METHODS)
def test_firing_rates_and_health_of_lif_as_ones_own_are_those_of_lif(method):
    assert sampled(network(OwnLIF), method) == sampled(network(LIF), method)


@pytest.mark.parametrize("method", ["rate_m", "rate_s"])
def test_so_are_the_errors_of_the_assumption_and_the_angles(method):
    found = (gradient_fidelity(network(kind), create_method(method, T), *batch()) for kind in (OwnLIF, LIF))
    own, built_in = (
        [one.whole.cosine, one.whole.norm_ratio, *one.neuron_error.values(), *one.weight_error.values()]
        for one in found
    )
    assert own == pytest.approx(built_in, rel=1e-5)  # bptt_s of LIF multiplies in another order


def test_neurons_of_several_tensors_and_with_parameters_have_health():
    for name in ("AdaptiveLIF", "CurrentLIF"):
        model = network(getattr(documented(), name))
        rates, health = sampled(model, "rate_m")
        assert all(0.0 < rate < 1.0 for layer in rates.rates for rate in layer)
        assert all(0.0 < share < 1.0 for share in health.in_window)
        assert gradient_fidelity(model, create_method("rate_m", T), *batch()).whole.cosine > 0.5


def test_beside_a_lif_that_learns_they_have_no_decay_and_threshold():
    kinds = iter((PLIF(0.5), OwnLIF(0.5)))
    _, health = sampled(network(lambda: next(kinds)), "rate_m")
    assert isinstance(health, Health) and health.decay == [0.5, None] and health.threshold == [1.0, None]


def test_energy_counts_them_and_says_that_it_does_not_know_their_cost():
    own, built_in = (measure_energy(network(kind), batch()[0], T) for kind in (OwnLIF, LIF))
    assert (own.neurons.updates, own.neurons.spikes) == (built_in.neurons.updates, built_in.neurons.spikes)
    assert [layer.synops for layer in own.layers] == [layer.synops for layer in built_in.layers]
    assert set(own.uncounted) - set(built_in.uncounted) == {"OwnLIF × 2"}


def test_nir_and_the_other_libraries_refuse_them_by_name():
    with pytest.raises(ExportError, match=r"OwnLIF is a neuron of its author's own, which has no node in NIR"):
        walk(network(OwnLIF).eval(), (2, 4, 4))
    with pytest.raises(ValueError, match="spikingjelly has no neuron OwnLIF: leave it out of --against"):
        BASELINES["spikingjelly"](network(OwnLIF), T, batch()[0])
