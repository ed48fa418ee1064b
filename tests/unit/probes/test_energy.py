"""The energy of small networks: operations against spikes that are recorded and followed one by one, costs against
SpikingJelly's own estimate for a network of its neurons."""

import copy
import json
import warnings
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import IFNode, LIFNode
from spikingjelly.activation_based.op_counter import estimate_lemaire_energy
from torch import nn
from torch.nn.functional import linear

from rbp_engine.methods.protocol import predict
from rbp_engine.probes.energy import measure_energy, quantised_bits
from rbp_engine.run.files.energy import read_energy, write_energy
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking import LIF

T = 3


def images(*, static=True, samples=4, spikes=False):
    draw = torch.Generator().manual_seed(5)
    shape = (samples, 2, 6, 6) if static else (T, samples, 2, 6, 6)
    values = 2.0 * torch.rand(shape, generator=draw)
    return (values > 1.4).float() if spikes else values


def seeded(*modules):
    torch.manual_seed(7)
    network = nn.Sequential(*modules)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.1, 0.4)
    return network.eval()


def convolutions(stride, groups, pool=None):
    pools = [pool] if pool is not None else []
    conv = nn.Conv2d(4, 6, 3, stride, padding=1, groups=groups, bias=False)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
    return seeded(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), LIF(), *pools, conv, LIF(decay=0.5), *head)


def recorded(network, inputs):
    """The spikes [T, B, …] of each neuron layer."""
    found = []
    neurons = [module for module in network.modules() if isinstance(module, LIF)]
    hooks = [neuron.register_forward_hook(lambda _, __, out: found.append(out.steps().clone())) for neuron in neurons]
    predict(network, inputs, T)
    for hook in hooks:
        hook.remove()
    return found


def followed(spikes, conv, size):
    """The weights that a convolution adds for spikes [T, B, C, H, W] on places of this size, spike by spike."""
    total = 0
    for *_, y, x in spikes.nonzero().tolist():
        y, x = y * size[0] // spikes.shape[3], x * size[1] // spikes.shape[4]  # the place of its pool
        reached = [
            (oy, ox)
            for oy in range((size[0] - 1) // conv.stride[0] + 1)
            for ox in range((size[1] - 1) // conv.stride[1] + 1)
            if abs(oy * conv.stride[0] - y) <= 1 and abs(ox * conv.stride[1] - x) <= 1
        ]
        total += len(reached) * conv.out_channels // conv.groups
    return total


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("static", [True, False])
def test_synaptic_operations_are_those_of_the_recorded_spikes(stride, groups, static):
    network = convolutions(stride, groups)
    first, second = recorded(network, images(static=static))
    energy = measure_energy(network, images(static=static), T)
    stem, conv, head = energy.layers
    assert conv.synops * energy.images == followed(first, network[3], (6, 6)) > 0
    assert conv.rate == pytest.approx(first.mean().item())
    assert conv.acs == conv.synops and conv.macs == 0
    # The average over all places is made of their spikes.
    assert head.synops * energy.images == int(second.sum()) * 3 > 0
    assert stem.synops == 0 and stem.macs == 2 * 9 * 4 * 36 * (1 if static else T)
    assert energy.neurons.spikes * energy.images == int(first.sum() + second.sum())
    assert energy.neurons.updates == T * (first[0, 0].numel() + second[0, 0].numel())


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.AvgPool2d(3)])
def test_an_average_of_spikes_counts_as_each_of_them(pool):
    network = convolutions(1, 1, pool)
    first = recorded(network, images())[0]
    energy = measure_energy(network, images(), T)
    side = 6 // int(pool.kernel_size)
    assert energy.layers[1].synops * energy.images == followed(first, network[4], (side, side)) > 0
    assert energy.layers[1].rate == pytest.approx(first.mean().item())
    assert energy.uncounted == ["AvgPool2d", "AdaptiveAvgPool2d"]


class Sums(nn.Module):
    """A convolution of the sum of two neuron layers, as in SEW blocks, then one whose input is no spikes."""

    def __init__(self):
        super().__init__()
        self.neurons = nn.ModuleList([LIF(), LIF(threshold=0.5)])
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.after = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        one, other = (neuron(x) for neuron in self.neurons)
        return self.after(self.conv(one + other)).mean((2, 3))


def test_a_sum_of_spikes_counts_as_both_and_real_numbers_as_multiplications():
    network = Sums().eval()
    one, other = recorded(network, images())
    energy = measure_energy(network, images(), T)
    conv, after = energy.layers
    expected = followed(one, network.conv, (6, 6)) + followed(other, network.conv, (6, 6))
    assert conv.synops * energy.images == expected and (one + other).max() == 2
    assert after.synops == 0 and after.macs == T * 36 * 3 * 2 and after.rate is None


class Product(nn.Module):
    """A linear layer that only its author knows."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 72))

    def forward(self, x):
        return linear(x, self.weight)


class Twice(nn.Module):
    """A neuron module that is called twice, and a layer of its author's own."""

    def __init__(self):
        super().__init__()
        self.neuron = LIF(threshold=0.3)
        self.own = Product()

    def forward(self, x):
        return self.own(self.neuron(self.neuron(x)).flatten(1))


def test_products_of_an_own_module_are_counted_and_named_as_without_energy():
    network = Twice().eval()
    first, second = recorded(network, images())
    energy = measure_energy(network, images(), T)
    [product] = energy.layers
    assert product.synops * energy.images == 5 * int(second.sum()) > 0
    assert product.ann_macs == 5 * 72 and product.pj is None
    assert energy.uncounted == ["Product", "products in own"]
    assert energy.neurons.spikes * energy.images == int(first.sum() + second.sum())


class Attention(nn.Module):
    """A module that multiplies what its layers put out, between two of them."""

    def __init__(self):
        super().__init__()
        self.queries, self.keys, self.out = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(6, 3)
        self.neurons = nn.ModuleList([LIF(), LIF(), LIF()])

    def forward(self, x):
        first, second, last = self.neurons
        queries, keys = first(self.queries(x)), second(self.keys(x))
        return self.out(last(queries @ keys.transpose(1, 2))).mean(1)


def test_layers_are_in_the_order_in_which_they_multiply():
    network = seeded(nn.Flatten(1), nn.Unflatten(1, (6, 12)), Attention())
    energy = measure_energy(network, images(), T)
    assert [layer.name for layer in energy.layers] == ["2.queries", "2.keys", "2", "2.out"]
    assert [layer.ann_macs for layer in energy.layers] == [6 * 12 * 12, 6 * 12 * 12, 6 * 6 * 12, 6 * 6 * 3]


TWINS = [(0.0, "soft", 0.0), (0.2, "soft", 0.0), (0.5, "hard", 0.0), (0.7, "hard", -0.2), (1.0, "soft", 0.0)]


def twin_neuron(neuron):
    """SpikingJelly's neuron that fires as this one does, step by step: λ = 1 − 1/τ."""
    settings = {"v_threshold": neuron.threshold, "v_reset": neuron.v_reset}
    if neuron.decay == 1.0:
        return IFNode(**settings)
    twin = LIFNode(decay_input=False, **settings)
    twin.tau = 1.0 / (1.0 - neuron.decay)  # here, because the constructor refuses τ = 1, which is λ = 0
    return twin


def twin_of(network):
    """The network with SpikingJelly's neurons, for one timestep."""
    modules = [twin_neuron(module) if isinstance(module, LIF) else copy.deepcopy(module) for module in network]
    return nn.Sequential(*modules)


class Steps(nn.Module):
    """A network of one timestep, called for each."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return torch.stack([self.network(step) for step in inputs])


@pytest.mark.parametrize(("decay", "reset", "v_reset"), TWINS)
def test_costs_are_those_that_spikingjelly_estimates_for_its_own_network(decay, reset, v_reset):
    def neuron():
        return LIF(decay, 1.0, reset, v_reset)

    convs = [nn.Conv2d(2, 4, 3, padding=1), neuron(), nn.Conv2d(4, 6, 3, 2, padding=1, bias=False), neuron()]
    network = seeded(*convs, nn.Flatten(), nn.Linear(54, 3)).double()
    inputs = images(static=False, samples=1, spikes=True).double()
    twin = Steps(twin_of(network).eval())
    assert torch.equal(twin(inputs).argmax(-1), predict(network, inputs, T).argmax(-1))
    reset_net(twin)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        expected = estimate_lemaire_energy(twin, inputs, config=lenient())
    energy = measure_energy(network, inputs, T)
    assert energy.spiking_32.total_pj == pytest.approx(expected.total_pj, rel=1e-9)
    assert energy.spiking_32.memory_pj == pytest.approx(expected.breakdown_pj["memory_pj"], rel=1e-9)


def test_an_ann_costs_what_spikingjelly_estimates_for_it():
    network = seeded(nn.Conv2d(2, 4, 3, padding=1), LIF(), nn.Flatten(), nn.Linear(144, 3))
    ann = nn.Sequential(network[0], nn.Softplus(), nn.Flatten(), network[3])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        expected = estimate_lemaire_energy(ann, images(samples=1), config=lenient())
    energy = measure_energy(network, images(), T)
    assert energy.ann_32.total_pj == pytest.approx(expected.total_pj, rel=1e-9)
    assert energy.ann_macs == expected.counts["mac"]


def lenient():
    from spikingjelly.activation_based.op_counter import LemaireEnergyConfig

    return LemaireEnergyConfig(strict=False)


def test_nothing_of_the_network_is_changed():
    network = nn.Sequential(*convolutions(1, 1), nn.Dropout()).train()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    network[2].kernel = "compiled"
    measure_energy(network, images(), T)
    assert network[2].kernel == "compiled"
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_at_the_break_even_rate_both_networks_cost_the_same():
    energy = measure_energy(convolutions(1, 1), images(), T)
    assert energy.rate and energy.break_even
    scale = energy.break_even / energy.rate
    parts = [*energy.layers, energy.neurons]
    there = sum((part.fixed_pj or 0) + scale * (part.spiking_pj or 0) for part in parts)
    assert there == pytest.approx(energy.quantised.total_pj)
    assert sum(part.pj or 0 for part in parts) == pytest.approx(energy.spiking.total_pj)
    assert (energy.rate < energy.break_even) == (energy.spiking.total_pj < energy.quantised.total_pj)


def test_a_network_that_spends_more_without_a_spike_has_no_break_even():
    energy = measure_energy(convolutions(1, 1), images(), T)
    assert replace(energy, neurons=replace(energy.neurons, fixed_pj=1e12)).break_even is None


def test_bits_hold_the_values_of_a_rate():
    assert [quantised_bits(timesteps) for timesteps in (1, 3, 4, 5, 7, 8)] == [1, 2, 3, 3, 3, 4]


def test_energy_is_read_back_from_its_file(tmp_path):
    run = RunDirectory(tmp_path)
    energy = replace(measure_energy(convolutions(2, 1, nn.AvgPool2d(2)), images(), T), step=12)
    assert read_energy(run) is None
    write_energy(run, energy)
    assert read_energy(run) == energy


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("layers"),
        lambda value: value["layers"][0].update(macs="many"),
        lambda value: value.update(images=0),
        lambda value: value["layers"][0].update(synops=1e308),
        lambda value: value["spiking"].update(memory_pj=1e308),
    ],
)
def test_a_damaged_file_is_no_energy(tmp_path, damage):
    run = RunDirectory(tmp_path)
    write_energy(run, measure_energy(convolutions(1, 1), images(), T))
    value = json.loads(run.energy_json.read_text())
    damage(value)
    run.energy_json.write_text(json.dumps(value))
    assert read_energy(run) is None
