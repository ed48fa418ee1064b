"""Which modules and functions are activations that a neuron replaces, and which no spiking network has but stay."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

# Looked up along the classes of a module, so that subclasses count, and by name, so that timm need not be installed
# and scripted modules, whose class is torch's, are found by the name that they had.
_ACTIVATIONS: Final = {
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish"),
    *("Softplus", "Threshold"),
    # timm's own, those that save memory (Me), and those of its earlier releases that are scripted (Jit)
    *("Swish", "HardSwish", "HardMish", "GELUTanh", "QuickGELU", "SwishMe", "MishMe", "HardSwishMe", "HardMishMe"),
    *("SwishJit", "MishJit", "HardSwishJit", "HardMishJit"),
}
_LIBRARIES: Final = ("torch.nn.", "timm.", "torchvision.")
_SCRIPTED: Final = "RecursiveScriptModule"

_NAMES: Final = ("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish")
_NAMES_OF_FUNCTIONS: Final = (*_NAMES, "hardswish", "softplus", "threshold")
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
# is the same in every timestep and no spikes.
_POSITIONS: Final = ("cpb_mlp", "RelPosMlp")

_GATE: Final = "a gate; no spiking network has it"
_NORM: Final = "of each timestep; no spiking network has it"
_KEPT: Final[tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], str], ...]] = (
    ((nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Hardtanh), _GATE),
    ((nn.Softmax, nn.Softmax2d, nn.MultiheadAttention), "softmax; no spiking network has it"),
    ((nn.LayerNorm, nn.GroupNorm), _NORM),
)
_KEPT_OF_TIMM: Final = {"Sigmoid": _GATE, "Tanh": _GATE, "HardSigmoid": _GATE, "HardSigmoidMe": _GATE}

# timm's layers that are normalisation and activation in one formula: the nearest norm, followed by a neuron. An
# activation in such a formula cannot be taken out: EvoNorm (Liu et al., 2020) divides x·sigmoid(v·x) by a deviation.
# timm's norms that have their activation as a child, such as `BatchNormAct2d`, need nothing of this.
_BATCH = "batch norm and a neuron; other weights than weight and bias are gone"
_GROUP = "group norm and a neuron; other weights than weight and bias are gone"


def is_activation(module: nn.Module) -> bool:
    """Whether a neuron belongs in the place of this module: the ReLU family of torch and timm, also scripted."""
    if isinstance(module, nn.ReLU6 | nn.Hardtanh):
        return type(module) is nn.ReLU6  # a Hardtanh, as torch has it
    return any(_name(module, kind) in _ACTIVATIONS for kind in type(module).__mro__ if _is_of_library(kind))


def is_activation_function(value: Any) -> bool:
    """Whether a module's attribute is a function such as `F.relu`, also with arguments bound to it."""
    if isinstance(value, partial):
        value = value.func
    return _is_hashable(value) and value in ACTIVATION_FUNCTIONS


def why_kept(module: nn.Module) -> str:
    """Why this module stays although no spiking network has it; "" for an ordinary one."""
    for kinds, why in _KEPT:
        if isinstance(module, kinds):
            return why
    return _KEPT_OF_TIMM.get(class_name(module), "") if _is_of_library(type(module)) else ""


def acts_on_positions(path: str, module: nn.Module) -> bool:
    """Whether a part of a network gets positions, and no spikes; its activations are no neurons."""
    return path.rpartition(".")[2] in _POSITIONS or class_name(module) in _POSITIONS


def is_fused(module: nn.Module) -> bool:
    """Whether this is such a layer of timm, with its activation."""
    name, of_timm = type(module).__name__, type(module).__module__.startswith("timm.layers.")
    return of_timm and name.startswith(("EvoNorm2d", "FilterResponseNorm")) and bool(getattr(module, "apply_act", True))


def norm_and_neuron(module: nn.Module, neuron: Callable[[], nn.Module]) -> tuple[nn.Module, str]:
    """timm's norm with a neuron as its activation, with the same weight and bias, and what it is."""
    layers = importlib.import_module("timm.layers")
    weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
    channels = len(weight)
    made: nn.Module
    if type(module).__name__.startswith("EvoNorm2dB"):
        made = layers.BatchNormAct2d(channels, eps=module.eps, momentum=module.momentum, apply_act=False)
    else:
        groups = getattr(module, "groups", channels)  # a filter response is normalised channel by channel
        made = layers.GroupNormAct(channels, groups, eps=module.eps, apply_act=False)
    made.weight, made.bias, made.act = weight, bias, neuron()
    return made.to(weight.device, weight.dtype), _BATCH if isinstance(made, nn.BatchNorm2d) else _GROUP


def class_name(module: nn.Module) -> str:
    return _name(module, type(module))


def _name(module: nn.Module, kind: type) -> str:
    """The name of a module's class or base class; a scripted module says in `original_name` what it was."""
    return str(module.original_name) if kind.__name__ == _SCRIPTED else kind.__name__


def _is_of_library(kind: type) -> bool:
    return kind.__module__.startswith(_LIBRARIES) or kind.__name__ == _SCRIPTED


def _is_hashable(value: Any) -> bool:
    return callable(value) and type(value).__hash__ is not None
