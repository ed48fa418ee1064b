"""What probes find of neurons that learn is what they find of fixed neurons with the same values."""

from dataclasses import asdict

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.probes.energy import measure_energy
from rbp_engine.probes.gradient_fidelity import gradient_fidelity
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.run.files.events import Health
from rbp_engine.spiking import LIF

T, B = 3, 6
VALUES = (0.4, 0.7)


def network(**learning):
    torch.manual_seed(0)
    neurons = (LIF(*VALUES, reset="hard", v_reset=-0.3, **learning) for _ in range(2))
    first, second = neurons
    layers = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), first, nn.Conv2d(4, 4, 3), second
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3)).double()
    create_method("rate_m", T).predict(model, batch()[0])
    return model


def batch():
    draw = torch.Generator().manual_seed(1)
    return 2.0 * torch.rand(B, 2, 6, 6, generator=draw, dtype=torch.float64), torch.arange(B) % 3


LEARNING = [{"learn": ["decay", "threshold"], "learn_by": by} for by in ("layer", "channel")]


def health(model, method):
    probe = HealthProbe(neuron_layers(model), weight_layers(model), 1)
    with probe.watch():
        create_method(method, T).step(model, *batch())
    probe.measure(1)
    [(_, found)] = probe.take()
    assert isinstance(found, Health)
    return found


@pytest.mark.parametrize("learning", LEARNING, ids=["layer", "channel"])
@pytest.mark.parametrize("method", ["rate_m", "rate_s", "bptt", "ottt"])
def test_health(method, learning):
    fixed, learnt = health(network(), method), health(network(**learning), method)
    assert fixed.decay == fixed.threshold == []
    assert learnt.decay == pytest.approx([VALUES[0]] * 2) and learnt.threshold == pytest.approx([VALUES[1]] * 2)
    assert learnt.in_window == pytest.approx(fixed.in_window)
    for found, expected in zip(learnt.eligibility, fixed.eligibility, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    for found, expected in zip(learnt.gradient_norm, fixed.gradient_norm, strict=True):
        assert found is expected is None or found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("learning", LEARNING, ids=["layer", "channel"])
def test_gradients_against_those_of_bptt(learning):
    method = create_method("rate_m", T)
    fixed, learnt = (gradient_fidelity(model, method, *batch()) for model in (network(), network(**learning)))
    assert learnt.neuron_error == pytest.approx(fixed.neuron_error, rel=1e-4)
    assert learnt.weight_error == pytest.approx(fixed.weight_error, rel=1e-4)
    for name, agreement in learnt.by_weight.items():
        assert asdict(agreement) == pytest.approx(asdict(fixed.by_weight[name]), rel=1e-4)


@pytest.mark.parametrize("learning", LEARNING, ids=["layer", "channel"])
def test_energy(learning):
    fixed, learnt = (
        measure_energy(model.float().eval(), batch()[0].float(), T) for model in (network(), network(**learning))
    )
    assert learnt == fixed
