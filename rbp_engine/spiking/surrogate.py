"""SpikingJelly's surrogate functions by name, and their slope as a plain tensor function."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from spikingjelly.activation_based import surrogate as spikingjelly_surrogate
from torch import Tensor

Surrogate: TypeAlias = spikingjelly_surrogate.SurrogateFunctionBase

# Their class has a static `backward(grad_output, x, **arguments)`, which gives the slope without a graph.
SURROGATES: dict[str, type[Surrogate]] = {
    "sigmoid": spikingjelly_surrogate.Sigmoid,
    "piecewise_quadratic": spikingjelly_surrogate.PiecewiseQuadratic,
    "piecewise_exp": spikingjelly_surrogate.PiecewiseExp,
    "soft_sign": spikingjelly_surrogate.SoftSign,
    "super_spike": spikingjelly_surrogate.SuperSpike,
    "atan": spikingjelly_surrogate.ATan,
    "nonzero_sign_log_abs": spikingjelly_surrogate.NonzeroSignLogAbs,
    "erf": spikingjelly_surrogate.Erf,
    "piecewise_leaky_relu": spikingjelly_surrogate.PiecewiseLeakyReLU,
    "leaky_k_relu": spikingjelly_surrogate.LeakyKReLU,
    "fake_numerical_gradient": spikingjelly_surrogate.FakeNumericalGradient,
    "log_tailed_relu": spikingjelly_surrogate.LogTailedReLU,
    "rect": spikingjelly_surrogate.Rect,
}


def create_surrogate(name: str, arguments: dict[str, float] | None = None) -> Surrogate:
    """A new surrogate for one neuron: SpikingJelly's default object is shared by all neurons.

    Arguments left out keep SpikingJelly's defaults (sigmoid: alpha = 4, the paper's).
    Raises ValueError for an unknown name and TypeError for an argument that the surrogate does not take.
    """
    if name not in SURROGATES:
        raise ValueError(f"unknown surrogate {name!r}: one of {', '.join(sorted(SURROGATES))}")
    return SURROGATES[name](**(arguments or {}))


def slope_function(surrogate: Surrogate) -> tuple[Callable[..., Tensor], dict[str, float]]:
    """A function (grad, distance, **arguments) ↦ grad ⊙ σ'(distance), and its arguments.

    Surrogates of one class share the function.
    """
    arguments = {name: getattr(surrogate, name) for name in surrogate._sg_param_names}
    if isinstance(surrogate, spikingjelly_surrogate.LogTailedReLU):
        return _log_tailed_relu, arguments
    return type(surrogate).backward, arguments


def slope(surrogate: Surrogate, distance: Tensor) -> Tensor:
    """σ'(distance) of the surrogate, `distance` = membrane − threshold, of any shape; builds no graph."""
    function, arguments = slope_function(surrogate)
    return function(torch.ones_like(distance), distance, **arguments)


def peak_slope(surrogate: Surrogate) -> float:
    """The largest σ' of a surrogate: at the threshold, where some of them step up or down."""
    return float(slope(surrogate, torch.tensor([-1e-6, 0.0, 1e-6])).max())


def _log_tailed_relu(grad: Tensor, distance: Tensor, alpha: float) -> Tensor:
    """SpikingJelly's version indexes with masks, which torch.compile cannot compile and for which the CPU waits."""
    return grad * torch.where(distance <= 0.0, alpha, torch.where(distance > 1.0, 1.0 / distance, 1.0))


def slope_in_place(surrogate: Surrogate, distance: Tensor) -> Tensor:
    """The same as `slope`, but may overwrite `distance`."""
    if not isinstance(surrogate, spikingjelly_surrogate.Sigmoid):
        return slope(surrogate, distance)
    sigma = distance.mul_(surrogate.alpha).sigmoid_()
    return (1.0 - sigma).mul_(sigma).mul_(surrogate.alpha)
