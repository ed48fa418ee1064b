"""Which modules and functions a neuron replaces, and which stay though no spiking network has them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

# Looked up along the classes of a module, so that subclasses count, and by name, so that timm need not be installed.
_ACTIVATIONS: Final = {
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish"),
    *("Softplus", "Threshold"),
    # timm's own, those that save memory (Me), and those of its earlier releases that call scripted functions (Jit)
    *("Swish", "HardSwish", "HardMish", "GELUTanh", "QuickGELU", "SwishMe", "MishMe", "HardSwishMe", "HardMishMe"),
    *("SwishJit", "MishJit", "HardSwishJit", "HardMishJit"),
}
_LIBRARIES: Final = ("torch.nn.", "timm.", "torchvision.")

_NAMES_OF_FUNCTIONS: Final = (
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish"),
    *("softplus", "threshold"),
)
ACTIVATION_FUNCTIONS: Final[frozenset[Callable[..., Any]]] = frozenset(
    getattr(namespace, name + suffix)
    for namespace in (functional, torch)
    for name in _NAMES_OF_FUNCTIONS
    for suffix in ("", "_")
    if hasattr(namespace, name + suffix)
)
# As methods of a tensor, which have no other arguments: `x.relu()`.
ACTIVATION_METHODS: Final = frozenset(["relu", "relu_"])

# What computes weights from positions (Swin V2, timm's relative positions), by name in a network or by class: its input
# is the same at every timestep and not spikes.
_POSITIONS: Final = {"cpb_mlp", "RelPosMlp"}
GETS_POSITIONS: Final = "gets positions and no spikes"

_GATE: Final = "a gate; no spiking network has it"
_KEPT: Final[tuple[tuple[tuple[type[nn.Module], ...], str], ...]] = (
    ((nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Hardtanh), _GATE),
    ((nn.Softmax, nn.Softmax2d, nn.MultiheadAttention), "softmax; no spiking network has it"),
    ((nn.LayerNorm, nn.GroupNorm), "of each timestep; no spiking network has it"),
)
_GATES_OF_TIMM: Final = ("Sigmoid", "Tanh", "HardSigmoid", "HardSigmoidMe")


def is_activation(module: nn.Module) -> bool:
    """Whether a neuron belongs in the place of this module: the ReLU family of torch and timm."""
    return any(kind.__name__ in _ACTIVATIONS for kind in type(module).__mro__ if _is_of_library(kind))


def activation_name(value: Any) -> str:
    """The name of an activation function such as `F.relu`, also with arguments bound to it; "" for anything else."""
    function = value.func if isinstance(value, partial) else value
    is_hashable = callable(function) and type(function).__hash__ is not None
    return function.__name__ if is_hashable and function in ACTIVATION_FUNCTIONS else ""


def why_kept(module: nn.Module, path: str) -> str:
    """Why this module stays as it is, for `GETS_POSITIONS` with everything in it; "" for an ordinary one."""
    kind = type(module)
    if not _POSITIONS.isdisjoint([path.rpartition(".")[2], kind.__name__]):
        return GETS_POSITIONS
    if _is_of_library(kind) and kind.__name__ in _GATES_OF_TIMM:
        return _GATE
    return next((why for kinds, why in _KEPT if isinstance(module, kinds)), "")


def _is_of_library(kind: type) -> bool:
    return kind.__module__.startswith(_LIBRARIES)
