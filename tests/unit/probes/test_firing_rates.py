"""Firing rates as sampled in a training step, against spikes that are recorded and counted in plain torch."""

import copy
import gc

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.firing_rates import DIGITS, SpikeWatch
from rbp_engine.probes.layers import names_for_people, neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import FiringRates
from rbp_engine.spiking import LIF

T = 3


class Network(nn.Module):
    """Two convolutions with batch norm, a neuron module that is used twice, and neurons that never and always fire."""

    def __init__(self, kernel="eager"):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5))
        self.shared = LIF(kernel=kernel)
        self.second = nn.Conv2d(5, 5, 3, padding=1)
        self.out = nn.Linear(5 * 36, 4)
        self.last = LIF(kernel=kernel, decay=0.5)
        assert self.first[1].bias is not None
        with torch.no_grad():
            self.first[1].bias[0] = -9.0
            self.first[1].bias[1] = 9.0

    def forward(self, x):
        x = self.shared(self.first(x))
        x = self.last(self.second(self.shared(x)))
        return self.out(x.flatten(1))


def images(static):
    draw = torch.Generator().manual_seed(3)
    shape = (6, 2, 6, 6) if static else (T, 6, 2, 6, 6)
    return 2.0 * torch.rand(shape, generator=draw), torch.arange(6) % 4


def watched_step(model, method, *, static=True, timesteps=T):
    probes = Probes([SpikeWatch(neuron_layers(model), timesteps, every=1)])
    with probes.watch(1):
        create_method(method, timesteps).step(model, *images(static))
    probes.measure(1)
    [(step, rates)] = probes.take()
    assert step == 1 and isinstance(rates, FiringRates)
    return rates


def recorded(model, method, *, static):
    """The same from spikes that are kept by wrapping each neuron's `fire`, and counted one by one."""
    kept = {name: [] for name in neuron_layers(model)}

    def keep(name):
        def hook(module, inputs, output):
            kept[name].extend(spikes.detach().clone().double() for _, spikes in output.by_step())

        return hook

    for name, module in neuron_layers(model).items():
        module.register_forward_hook(keep(name))
    create_method(method, T).step(model, *images(static))
    rates, silent, saturated = [], [], []
    for spikes in kept.values():
        uses = len(spikes) // T
        loop_inside = method in ("rate_m", "bptt")
        by_step = [spikes[t::T] if loop_inside else spikes[t * uses : (t + 1) * uses] for t in range(T)]
        rates.append([round(torch.stack(of_step).mean().item(), DIGITS) for of_step in by_step])
        stacked = torch.stack(spikes).flatten(0, 1)
        silent.append(round((stacked.sum(0) == 0).double().mean().item(), DIGITS))
        saturated.append(round((stacked.sum(0) == len(stacked)).double().mean().item(), DIGITS))
    return FiringRates(rates, silent, saturated)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_rates_are_those_of_the_recorded_spikes(method, static):
    torch.manual_seed(0)
    model = Network()
    found = watched_step(copy.deepcopy(model), method, static=static)
    assert found == recorded(copy.deepcopy(model), method, static=static)
    assert found.silent[0] > 0.0 and found.saturated[0] > 0.0


def test_a_step_that_is_not_sampled_has_not_one_operation_more():
    model = Network()
    method = create_method("rate_m", T)
    probes = Probes([SpikeWatch(neuron_layers(model), T, every=4)])

    def operations(step):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            if step is None:
                method.step(model, *images(static=True))
            else:
                with probes.watch(step):
                    method.step(model, *images(static=True))
                probes.measure(step)
        return [event.name for event in seen.events()]

    operations(None)
    assert operations(None) == operations(3)
    assert len(operations(4)) > len(operations(3))
    assert [step for step, _ in probes.take()] == [4]
    assert probes.take() == []


def test_a_sample_that_waits_to_be_fetched_is_a_few_numbers():
    model = Network()
    watch = SpikeWatch(neuron_layers(model), T, every=1)
    probes, method = Probes([watch]), create_method("rate_m", T)
    sizes = []
    for step in (1, 2):
        with probes.watch(step):
            method.step(model, *images(static=True))
        probes.measure(step)
        gc.collect()
        sizes.append(sum(found.numel() for found in gc.get_objects() if isinstance(found, Tensor)))
    assert sizes[1] - sizes[0] <= 2 * (T + 2) < 5 * 36
    assert len(probes.take()) == 2


def test_a_network_without_neurons_or_with_an_unused_layer_has_no_rates():
    unused = Network()
    unused.spare = LIF()
    for model in (nn.Sequential(nn.Flatten(), nn.Linear(72, 4)), unused):
        probes = Probes([SpikeWatch(neuron_layers(model), T, every=1)])
        with probes.watch(1):
            create_method("rate_m", T).step(model, *images(static=True))
        probes.measure(1)
        assert probes.take() == []


def test_layers_that_have_only_a_number_are_called_by_their_kind():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), LIF(), nn.Sequential(nn.Linear(2, 2)), nn.Conv2d(2, 2, 3), LIF())
    assert list(names_for_people(model, neuron_layers(model)).values()) == ["neurons 1", "neurons 2"]
    assert list(names_for_people(model, weight_layers(model)).values()) == ["conv 1", "2.0", "conv 2"]
