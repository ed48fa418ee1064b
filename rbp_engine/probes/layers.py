"""The layers that probes report on, of neurons and of weights, and hooks on them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeAlias, TypeVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from rbp_engine.spiking import LIF, OwnNeuron

Model = TypeVar("Model", bound=nn.Module)
NeuronLayer: TypeAlias = LIF | OwnNeuron[Any]
#: The same for isinstance.
NEURON_LAYERS: Final = (LIF, OwnNeuron)
#: Layers whose inputs are inspected.
WEIGHT_LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def neuron_layers(model: nn.Module) -> dict[str, NeuronLayer]:
    """The neuron layers of a network by the names of their modules, in their order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, NEURON_LAYERS)}


def weight_layers(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of convolutions and linear layers, by the names of their modules; no biases, no batch norms.

    A weight that is not called `weight` has its own name: a module may have several.
    """
    weights = {name: weight for name, weight in model.named_parameters() if name.endswith("weight") and weight.ndim > 1}
    return {name.removesuffix(".weight"): weight for name, weight in weights.items()}


def names_for_people(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Names to show, by name. A layer whose name is a number, as in nn.Sequential, gets that of its kind: `conv 2`."""
    found: dict[str, str] = {}
    counts = Counter[str]()
    for name in names:
        module = model.get_submodule(name) if name.isdigit() else None
        kind = "neurons" if isinstance(module, NEURON_LAYERS) else re.sub(r"\dd$", "", type(module).__name__.lower())
        counts[kind] += 1
        found[name] = name if module is None else f"{kind} {counts[kind]}"
    return found


def uncompiled(model: Model) -> Model:
    """The model itself, with its neurons uncompiled from now on: the same bits, and no compiler to wait for."""
    for module in model.modules():
        if isinstance(module, LIF):
            module.kernel = "eager"
    return model


@contextmanager
def hooked(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Remove the hooks afterwards."""
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook)
        yield
