"""Surrogate functions: SpikingJelly's by name, or a user's own; and their slope as a plain tensor function."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeAlias

import torch
from spikingjelly.activation_based import surrogate as spikingjelly_surrogate
from torch import Tensor

# torch's types call every autograd.Function method untyped.
# mypy: disable-error-code="misc, untyped-decorator"

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


class Spike(torch.autograd.Function):
    """H(distance) [B, …], with the slope of a surrogate as its derivative, backward and forward."""

    @staticmethod
    def forward(distance: Tensor, surrogate: Surrogate) -> Tensor:
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        distance, ctx.surrogate = inputs
        ctx.save_for_backward(distance)
        ctx.save_for_forward(distance)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return slope(ctx.surrogate, ctx.saved_tensors[0]) * grad, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return slope(ctx.surrogate, ctx.saved_tensors[0]) * tangent


class OwnSurrogate(Surrogate):
    """A surrogate from a user's function distance ↦ σ'(distance), of any shape; `arguments` are its other keywords."""

    def __init__(self, function: Callable[..., Tensor], arguments: dict[str, float]) -> None:
        super().__init__(**arguments)
        self.function = function
        # The same object for the surrogate's lifetime: loops are compiled again for another.
        self.slope: Callable[[Tensor], Tensor] = partial(function, **arguments)

    def forward(self, x: Tensor) -> Tensor:
        return Spike.apply(x, self)


def create_surrogate(surrogate: str | Callable[..., Any], arguments: dict[str, float] | None = None) -> Surrogate:
    """A new surrogate for one neuron: SpikingJelly's default object is shared by all neurons.

    `surrogate` is a name; or a function distance ↦ σ'(distance); or a surrogate like SpikingJelly's, as an object or as
    its class. Arguments left out keep their defaults (sigmoid: alpha = 4, the paper's).

    Raises ValueError for an unknown name, for a function that does not give one finite slope for each distance, and for
    arguments beside an object; TypeError for an argument that the surrogate does not take.
    """
    given = arguments or {}
    if isinstance(surrogate, str):
        if surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {surrogate!r}: one of {', '.join(sorted(SURROGATES))}")
        return SURROGATES[surrogate](**given)
    if isinstance(surrogate, Surrogate):
        if given:
            raise ValueError(f"{type(surrogate).__name__} is made already and takes no surrogate_args, got {given}")
        return surrogate
    made = surrogate(**given) if inspect.isclass(surrogate) else OwnSurrogate(surrogate, given)
    if not isinstance(made, Surrogate):
        raise ValueError(
            f"{type(made).__name__} is no surrogate: expected a function of the distance to the threshold that gives "
            "the slope, or a class that derives from spikingjelly.activation_based.surrogate.SurrogateFunctionBase"
        )
    _check_slope(made)
    return made


def slope_function(surrogate: Surrogate) -> tuple[Callable[..., Tensor], dict[str, float]]:
    """The function (distance, **arguments) ↦ σ'(distance) of a surrogate, and its arguments.

    It may overwrite the distance. Surrogates of one class share it, unless they are a user's.
    """
    arguments = {name: getattr(surrogate, name) for name in surrogate._sg_param_names}
    if isinstance(surrogate, OwnSurrogate):
        return surrogate.slope, {}
    if isinstance(surrogate, spikingjelly_surrogate.Sigmoid):
        return _sigmoid, arguments
    if isinstance(surrogate, spikingjelly_surrogate.LogTailedReLU):
        return _log_tailed_relu, arguments
    if not hasattr(type(surrogate), "backward"):
        return partial(_by_autograd, surrogate), {}
    kind: Any = type(surrogate)
    return _theirs(kind), arguments


@cache
def _theirs(kind: Any) -> Callable[..., Tensor]:
    """One function for each class of SpikingJelly: loops are compiled again for another."""

    def slope(distance: Tensor, **arguments: float) -> Tensor:
        return kind.backward(torch.ones_like(distance), distance, **arguments)

    return slope


def slope(surrogate: Surrogate, distance: Tensor) -> Tensor:
    """σ'(distance) of the surrogate, `distance` = membrane − threshold, of any shape; builds no graph."""
    function, arguments = slope_function(surrogate)
    return function(distance.clone(), **arguments)


def peak_slope(surrogate: Surrogate) -> float:
    """The largest σ' of a surrogate: at the threshold, where some of them jump; a user's may have it anywhere."""
    near = torch.tensor([-1e-6, 0.0, 1e-6])
    distances = torch.cat([near, torch.linspace(-3.0, 3.0, 601)]) if isinstance(surrogate, OwnSurrogate) else near
    return float(slope(surrogate, distances).max())


def _by_autograd(surrogate: Surrogate, distance: Tensor) -> Tensor:
    """The slope of a surrogate that has a graph but no static `backward`."""
    with torch.enable_grad():
        at = distance.detach().requires_grad_()
        [gradient] = torch.autograd.grad(surrogate(at).sum(), at)
    return gradient


def _sigmoid(distance: Tensor, alpha: float) -> Tensor:
    """SpikingJelly's, in place."""
    sigma = distance.mul_(alpha).sigmoid_()
    return (1.0 - sigma).mul_(sigma).mul_(alpha)


def _log_tailed_relu(distance: Tensor, alpha: float) -> Tensor:
    """SpikingJelly's version indexes with masks, which torch.compile cannot compile and for which the CPU waits."""
    return torch.where(distance <= 0.0, alpha, torch.where(distance > 1.0, 1.0 / distance, 1.0))


@torch.no_grad()
def _check_slope(surrogate: Surrogate) -> None:
    """Raise ValueError unless there is a finite slope for each distance, which depends on this distance alone."""
    own = surrogate.function if isinstance(surrogate, OwnSurrogate) else type(surrogate)
    name = getattr(own, "__name__", type(own).__name__)
    distance = torch.cat([torch.linspace(-3.0, 3.0, 61), torch.zeros(1)])
    slopes = slope(surrogate, distance)
    if not isinstance(slopes, Tensor) or slopes.shape != distance.shape or slopes.dtype != distance.dtype:
        shape = f"{slopes.dtype} {list(slopes.shape)}" if isinstance(slopes, Tensor) else type(slopes).__name__
        raise ValueError(
            f"the surrogate {name} gives {shape} for distances {distance.dtype} {list(distance.shape)}: expected a "
            "slope for each of them"
        )
    if not slopes.isfinite().all():
        where = float(distance[~slopes.isfinite()][0])
        raise ValueError(f"the slope of the surrogate {name} is not finite at the distance {where:g}")
    if not torch.allclose(slope(surrogate, distance[:30]), slopes[:30]):
        raise ValueError(f"the slope of the surrogate {name} at one distance depends on the other distances")
    if not slopes.any():
        raise ValueError(f"the slope of the surrogate {name} is 0 everywhere from -3 to 3: nothing would be learned")
