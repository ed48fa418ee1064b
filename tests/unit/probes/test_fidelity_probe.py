"""Gradient fidelity while training: its events, its errors, its memory, and that it changes nothing."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.models import create_model
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import DIGITS, FidelityProbe, gradient_fidelity, probe_batch
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.own_metrics import OwnMetrics
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import GradientFidelity, WarningRaised
from rbp_engine.spiking import LIF
from tests.limits import tensor_memory

T = 3


class Drawing(nn.Module):
    """A network that draws from every global generator, and keeps running statistics."""

    def __init__(self, kernel="eager"):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), LIF(kernel=kernel))
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(6 * 36, 4)

    def forward(self, x):
        x = self.features(x) * (0.9 + 0.1 * random.random()) * float(1.0 + 0.1 * np.random.rand())
        return self.out(self.dropout(x).flatten(1))


def batch(samples=8):
    draw = torch.Generator().manual_seed(1)
    return torch.rand((samples, 1, 6, 6), generator=draw) * 2.0, torch.arange(samples) % 4


def trained(model, method, probes):
    """Weights, statistics, momenta, gradients and generators after five steps."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    training = create_method(method, T)
    for step in range(1, 6):
        optimizer.zero_grad(set_to_none=True)
        with probes.watch(step):
            training.step(model, *batch())
        optimizer.step()
        probes.measure(step)
    tensors = [*model.state_dict().values(), torch.get_rng_state()]
    tensors += [weight.grad for weight in model.parameters() if weight.grad is not None]
    tensors += [state["momentum_buffer"] for state in optimizer.state.values()]
    return tensors, [random.getstate(), np.random.get_state()[1].tolist(), model.training]


DRAWS = """
import random
import numpy, torch

torch.manual_seed(5)

def measure(run, model):
    random.seed(1)
    run.log("noise", torch.rand(()) + numpy.random.rand() + random.random())
    torch.manual_seed(7)
"""


def check_same_bits(model, method, folder):
    (folder / "mine.py").write_text(DRAWS)
    plain, probed = copy.deepcopy(model), copy.deepcopy(model)
    probe = FidelityProbe(probed, create_method(method, T), batch(4), every=2)
    layers = neuron_layers(probed)
    others_too = [
        SpikeWatch(layers, T, every=2), HealthProbe(layers, weight_layers(probed), every=2),
        OwnMetrics("mine.py:measure", folder, probed, steps_per_epoch=1, every=2),
    ]  # fmt: skip
    tensors, others = trained(probed, method, Probes([*others_too, probe]))
    expected_tensors, expected_others = trained(plain, method, Probes())
    assert others == expected_others and len(tensors) == len(expected_tensors)
    assert all(torch.equal(one, other) for one, other in zip(tensors, expected_tensors, strict=True))
    assert [(step, type(event)) for step, event in probe.take()] == [(2, GradientFidelity), (4, GradientFidelity)]
    assert probe.take() == []
    assert [[step for step, _ in one.take()] for one in others_too] == [[2, 4]] * 3


@pytest.mark.parametrize("method", METHODS)
def test_training_computes_the_same_bits_with_all_probes(method, tmp_path):
    torch.manual_seed(0)
    check_same_bits(Drawing(), method, tmp_path)


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
@pytest.mark.usefixtures("a_compiler")
def test_training_with_compiled_neurons_computes_the_same_bits_with_all_probes(tmp_path):
    torch.manual_seed(0)
    check_same_bits(Drawing(kernel="compiled"), "rate_m", tmp_path)


def test_an_event_has_the_fidelity_of_the_weights_after_its_step():
    torch.manual_seed(0)
    model, method = Drawing(), create_method("rate_s", T)
    probe = FidelityProbe(model, method, batch(4), every=1)
    probe.measure(7)
    expected = gradient_fidelity(model, method, *batch(4))
    with torch.no_grad():
        model.out.weight.zero_()
    [(step, event)] = probe.take()
    assert step == 7 and isinstance(event, GradientFidelity)
    assert event.samples == 4
    assert event.cosine == pytest.approx(expected.whole.cosine, abs=10**-DIGITS)
    assert event.norm_ratio == pytest.approx(expected.whole.norm_ratio, abs=10**-DIGITS)
    by_weight = expected.by_weight.values()
    assert event.cosine_by_weight == pytest.approx([one.cosine for one in by_weight], abs=10**-DIGITS)
    assert event.norm_ratio_by_weight == pytest.approx([one.norm_ratio for one in by_weight], abs=10**-DIGITS)
    assert event.weight_error == pytest.approx(list(expected.weight_error.values()), abs=10**-DIGITS)
    assert event.neuron_error == pytest.approx(list(expected.neuron_error.values()), abs=10**-DIGITS)


def test_an_error_ends_the_comparisons_with_one_warning():
    class OnlyInPairs(Drawing):
        def forward(self, x):
            if x.shape[0] == 3:
                raise ValueError("three\x1b[31m images")
            return super().forward(x)

    probe = FidelityProbe(OnlyInPairs(), create_method("rate_m", T), batch(3), every=1)
    probe.measure(1)
    probe.measure(2)
    [(step, warning)] = probe.take()
    assert step == 1 and isinstance(warning, WarningRaised)
    assert "probes.gradients" in warning.message and "three" in warning.message and "\x1b" not in warning.message


@pytest.mark.parametrize(
    ("samples", "method", "timesteps", "accumulate", "expected"),
    [
        (64, "rate_m", 4, 1, 8),
        (64, "rate_m", 4, 2, 4),
        (64, "rate_s", 4, 1, 4),
        (2048, "rate_m", 4, 1, 64),
        (16, "sltt", 8, 4, 2),
        (1, "rate_m", 4, 1, 1),
    ],
)
def test_the_batch_shrinks_with_the_timesteps(samples, method, timesteps, accumulate, expected):
    static, labels = batch(samples)
    frames = static.expand(timesteps, *static.shape)
    for images in (static, frames):
        found = probe_batch([(images, labels), (images, labels)], create_method(method, timesteps), accumulate)
        assert found is not None and torch.equal(found[1], labels[:expected])
        assert torch.equal(found[0], images[..., :expected, :, :, :])
        assert found[0].untyped_storage().nbytes() == found[0].nbytes  # not a view of all images


def test_without_images_there_is_no_batch():
    assert probe_batch([], create_method("rate_m", 4), 1) is None


@pytest.mark.parametrize("method", ["rate_m", "rate_s", "sltt"])
def test_the_peak_of_memory_stays_that_of_a_training_step(method):
    torch.manual_seed(0)
    model, training = create_model("convnet", num_classes=10, in_channels=1), create_method(method, 4)
    images, labels = torch.rand(64, 1, 8, 8), torch.arange(64) % 10
    probed = probe_batch([(images, labels)], training, 1)
    assert probed is not None
    probe = FidelityProbe(model, training, probed, every=1)

    def step(*, with_probe):
        training.step(model, images, labels)
        if with_probe:
            probe.measure(1)
            probe.take()

    def peak(*, with_probe):
        model.zero_grad(set_to_none=True)
        return tensor_memory(lambda: step(with_probe=with_probe))

    step(with_probe=False)
    assert peak(with_probe=True) == peak(with_probe=False)
