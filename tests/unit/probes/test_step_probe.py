"""Measuring changes no bit of a training: all probes at once, beside the same training without them."""

import copy
import random

import numpy as np
import pytest
import torch

from rbp_engine.methods import METHODS, create_method
from rbp_engine.probes.firing_rates import SpikeWatch
from rbp_engine.probes.gradient_fidelity import FidelityProbe
from rbp_engine.probes.health import HealthProbe
from rbp_engine.probes.layers import neuron_layers, weight_layers
from rbp_engine.probes.own_metrics import OwnMetrics
from rbp_engine.probes.step_probe import Probes
from rbp_engine.run.files.events import GradientFidelity
from tests.unit.probes.drawing import Drawing, T, batch


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
