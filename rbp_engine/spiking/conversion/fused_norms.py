"""timm's layers that are normalisation and activation in one formula: the nearest norm, followed by a neuron.

An activation in such a formula cannot be taken out: EvoNorm (Liu et al., 2020) divides x·sigmoid(v·x) by a deviation.
timm's norms that have their activation as a child, such as `BatchNormAct2d`, need nothing of this.
"""

import importlib
from collections.abc import Callable

from torch import nn

_BATCH = "batch norm and a neuron; other weights than weight and bias are gone"
_GROUP = "group norm and a neuron; other weights than weight and bias are gone"


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
