"""Neurons of SpikingJelly become ours with their parameters: spikes, membranes and gradients, to rounding."""

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from rbp_engine.spiking import LIF, make_spiking
from rbp_engine.spiking.convert.spikingjelly_map import keywords_of, keywords_of_lif
from rbp_engine.spiking.surrogate import SURROGATES, create_surrogate, slope

T = 5


def spikes_and_gradient(module):
    currents = 3 * torch.rand(T, 4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    currents.requires_grad_()
    functional.set_step_mode(module, "m")
    spikes = module(currents)
    weights = torch.rand(spikes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (spikes * weights).sum().backward()
    assert currents.grad is not None
    assert spikes.sum() > 0
    return spikes.detach(), currents.grad


@pytest.mark.parametrize(
    "theirs",
    [
        neuron.IFNode(v_threshold=1.5),
        neuron.IFNode(v_reset=None, surrogate_function=surrogate.Erf(alpha=1.5)),
        neuron.ParametricLIFNode(init_tau=3.0, detach_reset=True),
        neuron.SimpleLIFNode(2.0, True),
        neuron.LIFNode(2.5, surrogate_function=surrogate.PiecewiseLeakyReLU(w=0.7, c=0.1)),
    ],
    ids=lambda theirs: type(theirs).__name__,
)
def test_their_neurons_become_ours_with_their_parameters(theirs):
    ours, report = make_spiking(theirs)
    assert isinstance(ours, LIF)
    assert [part.kind for part in report.replaced] == [type(theirs).__name__]
    for found, expected in zip(spikes_and_gradient(ours), spikes_and_gradient(theirs.double()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)  # ParametricLIFNode has a float32 1 / tau


@pytest.mark.parametrize("name", sorted(set(SURROGATES) - {"super_spike", "log_tailed_relu"}))
def test_a_surrogate_is_as_much_wider_as_the_membrane_is_larger(name):
    narrow = create_surrogate(name)
    words = keywords_of_lif(tau=2.5, surrogate_function=narrow)
    wide = create_surrogate(words["surrogate"], words["surrogate_args"])
    distance = torch.linspace(-3.01, 3.0, 200, dtype=torch.float64)
    torch.testing.assert_close(slope(wide, distance), slope(narrow, distance / 2.5) / 2.5)


def test_a_surrogate_that_cannot_be_made_wider_is_refused_and_replaced_by_the_default_neuron():
    theirs = neuron.LIFNode(2.0, surrogate_function=surrogate.SuperSpike())
    with pytest.raises(ValueError, match="SuperSpike cannot be made wider"):
        keywords_of(theirs)
    ours, report = make_spiking(theirs)
    assert ours.decay == 0.2
    assert "SuperSpike cannot be made wider" in str(report)
    assert (
        keywords_of(neuron.LIFNode(2.0, decay_input=False, surrogate_function=surrogate.SuperSpike()))["decay"] == 0.5
    )


def test_a_time_constant_that_they_learn_is_learnt_here():
    ours, report = make_spiking(neuron.ParametricLIFNode(init_tau=3.0))
    assert isinstance(ours, LIF)
    assert isinstance(ours.decay, Tensor)
    assert ours.decay.item() == pytest.approx(1 - 1 / 3)
    assert [name for name, _ in ours.named_parameters()] == ["decay_logit"]
    assert report.replaced[0].note == "with its parameters, learnt too"


def test_a_neuron_with_other_equations_is_replaced_and_the_report_says_so():
    network, report = make_spiking(nn.Sequential(nn.Linear(3, 3), neuron.QIFNode()))
    assert isinstance(network.get_submodule("1"), LIF)
    assert "QIFNode has other equations than LIF" in str(report)
