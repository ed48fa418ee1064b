"""The slope computed without a graph equals autograd's."""

import pickle

import pytest
import torch
from spikingjelly.activation_based import surrogate as spikingjelly
from torch import nn

from rbp_engine.methods import METHODS, create_method
from rbp_engine.spiking import LIF
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.surrogate import SURROGATES, create_surrogate, slope

NAMES = sorted(SURROGATES)

# Arguments other than SpikingJelly's defaults, one set per surrogate.
ARGUMENTS = {
    "sigmoid": {"alpha": 2.5},
    "piecewise_quadratic": {"alpha": 0.7},
    "piecewise_exp": {"alpha": 1.7},
    "soft_sign": {"alpha": 3.0},
    "super_spike": {"alpha": 3.0},
    "atan": {"alpha": 1.3},
    "nonzero_sign_log_abs": {"alpha": 1.4},
    "erf": {"alpha": 1.2},
    "piecewise_leaky_relu": {"w": 0.6, "c": 0.05},
    "leaky_k_relu": {"leak": 0.2, "k": 0.8},
    "fake_numerical_gradient": {"alpha": 0.5},
    "log_tailed_relu": {"alpha": 0.1},
    "rect": {"alpha": 0.8},
}


def distances():
    """Membrane minus threshold, on both sides, including zero and the corners of the piecewise surrogates."""
    return torch.cat([torch.linspace(-3.0, 3.0, 121, dtype=torch.float64), torch.tensor([0.0, -0.0, 1e-9, -1e-9])])


@pytest.mark.parametrize("arguments", ["default", "other"])
@pytest.mark.parametrize("name", NAMES)
def test_slope_equals_autograd_of_the_surrogate(name, arguments):
    surrogate = create_surrogate(name, ARGUMENTS[name] if arguments == "other" else None)
    x = distances().requires_grad_()
    (expected,) = torch.autograd.grad(surrogate(x).sum(), x)
    result = slope(surrogate, x.detach())
    assert not result.requires_grad and slope(surrogate, x.detach().float()).dtype == torch.float32
    assert result.abs().max() > 0
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'sigmoidal'.*atan.*sigmoid"):
        create_surrogate("sigmoidal")


def own_sigmoid(x, alpha=4.0):
    sigma = torch.sigmoid(alpha * x)
    return (1.0 - sigma) * sigma * alpha


def gradients(method, **neuron):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), LIF(**neuron), nn.Linear(5, 5), LIF(**neuron), nn.Linear(5, 3)).double()
    images = 3.0 * torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    create_method(method, 3).step(model, images, torch.tensor([0, 1, 2, 0]))
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("method", METHODS)
def test_a_function_of_ones_own_is_a_surrogate_in_every_method(method):
    """SpikingJelly's sigmoid, written down again; and one without a static `backward`."""
    reset = {"reset": "hard", "detach_reset": False}
    expected = gradients(method, surrogate_args={"alpha": 2.0}, **reset)
    for own in (own_sigmoid, spikingjelly.Sigmoid):
        found = gradients(method, surrogate=own, surrogate_args={"alpha": 2.0}, **reset)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    by_autograd = gradients(method, surrogate=spikingjelly.S2NN(alpha=2.0, beta=1.0), **reset)
    assert all(gradient.abs().max() > 0 for gradient in by_autograd[:4])


@pytest.mark.compiles
@pytest.mark.xdist_group("compiler")
def test_a_function_of_ones_own_is_compiled_with_the_loops():
    current, grad = 3.0 * torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = [
        LIF(surrogate=own_sigmoid, kernel=kernel).neurons.gradient_through_time(Current.of(current), grad)[0]
        for kernel in ("eager", "compiled")
    ]
    assert both[0].any()
    torch.testing.assert_close(*both, rtol=1e-12, atol=1e-14)


def test_a_neuron_with_a_function_of_ones_own_can_be_pickled():
    neuron = LIF(surrogate=own_sigmoid, surrogate_args={"alpha": 2.0})
    same = pickle.loads(pickle.dumps(neuron))
    assert torch.equal(slope(same.surrogate, distances()), slope(neuron.surrogate, distances()))


def test_an_object_takes_no_arguments_besides():
    with pytest.raises(ValueError, match=r"Sigmoid is made already and takes no surrogate_args, got \{'alpha': 2\.0\}"):
        LIF(surrogate=spikingjelly.Sigmoid(), surrogate_args={"alpha": 2.0})
