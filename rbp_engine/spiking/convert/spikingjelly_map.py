"""SpikingJelly's neurons in the words of ours.

SpikingJelly's LIF charges u_t = v_{t-1} − (v_{t-1} − v_reset)/τ + I_t, and with `decay_input` it divides I_t by τ too.
The first is ours with λ = 1 − 1/τ. The second is ours with membranes that are τ times as large: V_th and v_reset become
τ·V_th and τ·v_reset, and the surrogate τ times as wide, which for most of them is α/τ.
"""

from typing import Any, Final

from spikingjelly.activation_based import base, neuron, surrogate
from torch import nn

from rbp_engine.spiking.errors import PUT_OURS
from rbp_engine.spiking.surrogate import SURROGATES, Surrogate

# Their slope σ' at x / τ, divided by τ, is that of the same class with these arguments multiplied or divided by τ.
_BECOME_SMALLER: Final = ("alpha", "leak", "k", "c")
_BECOMES_LARGER: Final = "w"
_SHOWN: Final = 3  # places that a message names

_INTEGRATE: Final = (neuron.IFNode, neuron.SimpleIFNode)
_LEAKY: Final = (neuron.LIFNode, neuron.SimpleLIFNode, neuron.ParametricLIFNode)

_NETWORKS: Final = "spikingjelly.activation_based.model."
# The name for the number of times in their networks that repeat an image.
_OWN_TIMESTEPS: Final = ("T", "total_timestep", "_time_step")

# The keywords of their constructors that are also ours.
_OF_BOTH: Final = ("v_reset", "detach_reset")


def keywords_of_lif(
    tau: float = 2.0,
    decay_input: bool = True,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    surrogate_function: Surrogate | None = None,
    detach_reset: bool = False,
) -> dict[str, Any]:
    """The keywords of our `LIF` for those of SpikingJelly's `LIFNode`, with its defaults.

    Raises ValueError if no LIF of ours is the same neuron.
    """
    if not tau >= 1.0:
        raise ValueError(f"tau must be at least 1, got {tau}")
    scale = tau if decay_input else 1.0
    name, arguments = _surrogate(surrogate_function or surrogate.Sigmoid(), scale)
    return {
        "decay": 1.0 - 1.0 / tau,
        "threshold": v_threshold * scale,
        "detach_reset": detach_reset,
        "surrogate": name,
        "surrogate_args": arguments,
        **({"reset": "soft"} if v_reset is None else {"reset": "hard", "v_reset": v_reset * scale}),
    }


def _surrogate(function: Surrogate, scale: float) -> tuple[str, dict[str, float]]:
    """The name and the arguments of a surrogate that is `scale` times as wide."""
    name = next((name for name, kind in SURROGATES.items() if type(function) is kind), None)
    if name is None:
        raise ValueError(f"{type(function).__name__} is none of the surrogates {', '.join(SURROGATES)}")
    if not function.spiking:
        raise ValueError("a surrogate with spiking=False gives no spikes")
    if scale != 1.0 and isinstance(function, surrogate.SuperSpike | surrogate.LogTailedReLU):
        raise ValueError(f"{type(function).__name__} cannot be made wider, as decay_input=True asks of it")
    arguments = {argument: float(getattr(function, argument)) for argument in function._sg_param_names}
    smaller = {argument: value / scale for argument, value in arguments.items() if argument in _BECOME_SMALLER}
    larger = {argument: value * scale for argument, value in arguments.items() if argument == _BECOMES_LARGER}
    return name, {**arguments, **smaller, **larger}


def is_spikingjelly_neuron(module: nn.Module) -> bool:
    """Whether this is a neuron of SpikingJelly, of any kind."""
    return isinstance(module, base.StepModule) and _is_of(module, f"{neuron.__name__}.")


def _is_of(module: nn.Module, package: str) -> bool:
    return any(kind.__module__.startswith(package) for kind in type(module).__mro__)


def why_not_trained(network: nn.Module) -> str:
    """A sentence about parts of SpikingJelly in a network that no method here trains; "" if there are none.

    They are its neurons, and its networks that run several timesteps themselves.
    """
    neurons = {path or "the network itself": m for path, m in network.named_modules() if is_spikingjelly_neuron(m)}
    if neurons:
        kinds = ", ".join(sorted({type(module).__name__ for module in neurons.values()}))
        more = f" and {len(neurons) - _SHOWN} more places" if len(neurons) > _SHOWN else ""
        return (
            f"SpikingJelly's {kinds} at {', '.join([*neurons][:_SHOWN])}{more} are not trained here, {PUT_OURS}. "
            "SpikingJelly's layers can stay"
        )
    for module in network.modules():
        timesteps = next((vars(module)[name] for name in _OWN_TIMESTEPS if name in vars(module)), 1)
        if timesteps != 1 and _is_of(module, _NETWORKS):
            return (
                f"SpikingJelly's {type(module).__name__} repeats its input {timesteps} times itself, and a method "
                "here runs the timesteps: make the network with T=1"
            )
    return ""


def keywords_of(module: nn.Module) -> dict[str, Any]:
    """The keywords of our `LIF` that is the same neuron as this one of SpikingJelly.

    Raises ValueError if there is none.
    """
    if not isinstance(module, _INTEGRATE + _LEAKY) or isinstance(module, neuron.LIAFNode):
        raise ValueError(f"{type(module).__name__} has other equations than LIF")
    common = {name: getattr(module, name) for name in (*_OF_BOTH, "v_threshold", "surrogate_function")}
    if isinstance(module, _INTEGRATE):
        return {**keywords_of_lif(decay_input=False, **common), "decay": 1.0}
    if not isinstance(module, neuron.ParametricLIFNode):
        return keywords_of_lif(module.tau, module.decay_input, **common)
    # It learns 1/τ = sigmoid(w), and ours learns λ, from λ = 1 − 1/τ on; V_th and v_reset keep their values for this τ.
    tau = 1.0 / float(module.w.detach().double().sigmoid())
    return {**keywords_of_lif(tau, module.decay_input, **common), "learn": ("decay",)}
