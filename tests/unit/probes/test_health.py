"""Health as sampled in a training step, against membranes and gradients that are computed again in plain torch."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.health import SAMPLES, SORTED, HealthProbe, _evenly
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import ELIGIBILITY_QUANTILES, Health
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from rbp_engine.spiking.carriers.rate_s import RateSTensor
from rbp_engine.spiking.carriers.single_step import StepTensor
from rbp_engine.spiking.dtypes import membrane_dtype
from rbp_engine.spiking.surrogate import SURROGATES, create_surrogate, peak_slope, slope
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.optimisation import create_optimizer
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.step import OptimizerStep

T, BATCH = 3, SAMPLES + 2
NEURONS = {
    "soft": {"decay": 0.5},
    "hard": {"decay": 0.5, "reset": "hard", "v_reset": -0.1, "surrogate": "atan"},
    "attached": {"decay": 0.5, "detach_reset": False},
    "attached hard": {"decay": 0.5, "reset": "hard", "detach_reset": False},
}


class Network(nn.Module):
    """A neuron module that is used twice, a sum and a batch norm that are left to the neuron, dropout."""

    def __init__(self, **neuron):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.shared = LIF(**neuron)
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.drop = nn.Dropout(0.2)
        self.last = LIF(**neuron)
        self.out = nn.Linear(4 * 25, 3)

    def forward(self, x):
        x = self.shared(self.first(x))
        x = self.last(self.second(self.drop(self.shared(x + x))) + x)
        return self.out(x.flatten(1))


def batch(static):
    draw = torch.Generator().manual_seed(3)
    shape = (BATCH, 2, 5, 5) if static else (T, BATCH, 2, 5, 5)
    return 3.0 * torch.rand(shape, generator=draw), torch.arange(BATCH) % 3


def probe(model):
    return HealthProbe(neuron_layers(model), weight_layers(model), every=1)


def stepper(model, method, precision="fp32", **settings):
    optimizer = create_optimizer(model, "sgd", lr=0.1, momentum=0.9, weight_decay=1e-3)
    return OptimizerStep(State(model, create_method(method, T, precision=precision), optimizer), Ranks(), **settings)


def sampled(model, step, *, static=True):
    probes = Probes([probe(model)])
    images, labels = batch(static)
    with probes.watch(1):
        step(images, labels, BATCH)
    probes.measure(1)
    [(at, health)] = probes.take()
    assert at == 1 and isinstance(health, Health)
    return health


def currents(model, method, static):
    """All currents [T, B, …] of each use of a neuron layer, sums and batch norms done."""
    kept = {name: [] for name in neuron_layers(model)}

    def keep(name):
        def hook(module, inputs):
            [carrier] = inputs
            if isinstance(carrier, RateTensor | SequenceTensor):
                sequence = SequenceTensor(carrier.current)  # the carrier stays as it is
                kept[name].append(sequence.steps().detach().clone())
            elif isinstance(carrier, RateSTensor) and carrier.of_time:
                kept[name].append(carrier.current.compute()[0].clone())
            elif isinstance(carrier, StepTensor):
                kept[name].append(carrier.values().detach().clone())

        return hook

    for name, module in neuron_layers(model).items():
        module.register_forward_pre_hook(keep(name))
    create_method(method, T).step(model, *batch(static))
    if method in ("rate_m", "bptt"):
        return kept
    return {
        name: [torch.stack(steps[use :: len(steps) // T]) for use in range(len(steps) // T)]
        for name, steps in kept.items()
    }


def by_autograd(received, neuron):
    """Of currents [T, B, …]: whether each membrane is in the window, and g = mean_t of ∂(Σ_t s_t)/∂I_t by neuron."""
    inputs = received[:, :SAMPLES].clone().requires_grad_()
    parameters = neuron.neurons
    dtype, fired, inside = membrane_dtype(inputs.dtype), torch.zeros(()), []
    membrane = torch.full_like(inputs[0], parameters.v_reset or 0.0, dtype=dtype)
    for current in inputs:
        reset = parameters.v_reset or 0.0
        charged = (reset + parameters.decay * (membrane - reset) + current).detach().requires_grad_()
        parameters.surrogate(charged - parameters.threshold).sum().backward()
        assert charged.grad is not None
        inside += (charged.grad >= 0.5 * peak_slope(parameters.surrogate)).flatten().tolist()
        spikes, membrane = parameters.timestep(membrane, current)
        fired = fired + spikes.sum()
    fired.backward()
    assert inputs.grad is not None
    return inside, inputs.grad.mean(0).flatten().tolist()


@pytest.mark.parametrize(
    ("method", "static", "neuron"),
    [
        *product(METHODS, (True, False), ("soft",)),
        *product(("rate_m",), (True,), ("hard", "attached", "attached hard")),
    ],
)
def test_membranes_and_eligibilities_are_those_of_autograd(method, static, neuron):
    torch.manual_seed(0)
    model = Network(**NEURONS[neuron])
    torch.manual_seed(1)  # dropout
    found = sampled(twin := copy.deepcopy(model), stepper(twin, method), static=static)
    torch.manual_seed(1)
    for n, (name, uses) in enumerate(currents(model, method, static).items()):
        both = [by_autograd(use, neuron_layers(model)[name]) for use in uses]
        inside = [one for each, _ in both for one in each]
        eligibility = [one for _, each in both for one in each]
        assert found.in_window[n] == float(f"{sum(inside) / len(inside):.6g}")
        assert 0 < sum(inside) < len(inside)
        assert found.eligibility[n] == pytest.approx(np.quantile(eligibility, ELIGIBILITY_QUANTILES), rel=1e-4)


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05}, {"accumulate": 2}], ids=str)
def test_gradients_and_updates_are_those_of_the_optimizer(settings):
    torch.manual_seed(0)
    model = Network()
    step = stepper(model, "rate_m", **settings)
    step(*batch(static=True), BATCH)  # momentum
    before = {name: weight.detach().clone() for name, weight in weight_layers(model).items()}
    found = sampled(model, step)
    for n, (name, weight) in enumerate(weight_layers(model).items()):
        assert weight.grad is not None
        assert found.gradient_norm[n] == float(f"{weight.grad.norm().item():.6g}")
        ratio = (weight.detach() - before[name]).norm().double() / before[name].norm()
        assert found.update_ratio[n] == float(f"{ratio.item():.6g}") > 0
    if "clip_norm" in settings:
        assert sum(norm**2 for norm in found.gradient_norm if norm is not None) ** 0.5 <= 0.05 * (1 + 1e-5)


def test_layers_and_weights_that_take_no_part_have_no_numbers():
    model = Network()
    model.spare, model.unused = LIF(), nn.Linear(3, 3)
    found = sampled(model, stepper(model, "rate_m"))
    assert found.in_window[2] is None and found.eligibility[2] == [None] * 5
    assert found.gradient_norm[3] is None and found.update_ratio[3] == 0.0
    assert None not in found.in_window[:2] + found.gradient_norm[:3] + found.update_ratio[:3]


@pytest.mark.parametrize("method", ["bptt_s", "rate_s", "sltt", "ottt"])
def test_a_network_that_branches_in_time_is_refused_as_without_the_probe(method):
    class Branching(Network):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return self.out((self.first(x) if self.calls == 1 else self.shared(self.first(x))).flatten(1))

    with pytest.raises(ValueError, match="it must not branch in time"):
        sampled(model := Branching(), stepper(model, method))


def test_a_step_that_fp16_skips_has_no_gradients():
    model = Network()
    step = stepper(model, "rate_m", precision="fp16")
    step.state.scaler.load_state_dict(step.state.scaler.state_dict() | {"scale": 1e30})
    found = sampled(model, step)
    assert found.gradient_norm == [None] * 3 and found.update_ratio == [0.0] * 3
    step.state.scaler.load_state_dict(step.state.scaler.state_dict() | {"scale": 1024.0})
    whole = stepper(copy.deepcopy(model), "rate_m")
    torch.manual_seed(1)
    found = sampled(model, step)
    torch.manual_seed(1)
    assert found.gradient_norm == pytest.approx(sampled(whole.state.model, whole).gradient_norm, rel=0.05)


def test_of_many_eligibilities_every_channel_and_column_is_among_those_that_are_sorted():
    shape = (8, 64, 32, 32)
    values = torch.arange(int(np.prod(shape)))
    taken = _evenly(values, SORTED)
    assert SORTED / 2 < len(taken) <= SORTED
    for dimension in np.unravel_index(taken.numpy(), shape):
        counts = np.bincount(dimension)
        assert counts.min() > 0.9 * counts.mean()


@pytest.mark.parametrize("name", SURROGATES)
def test_no_slope_is_larger_than_the_peak(name):
    surrogate = create_surrogate(name)
    assert float(slope(surrogate, torch.linspace(-3, 3, 60001)).max()) <= peak_slope(surrogate) * (1 + 1e-5)
