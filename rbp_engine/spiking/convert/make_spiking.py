"""A spiking network from one that has activations, or SpikingJelly's neurons."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from rbp_engine.spiking.convert.activations import (
    GETS_POSITIONS,
    activation_name,
    is_activation,
    why_kept,
)
from rbp_engine.spiking.convert.forward_source import rewrite
from rbp_engine.spiking.convert.spikingjelly_map import is_spikingjelly_neuron, keywords_of
from rbp_engine.spiking.neuron import LIF

_SHOWN = 3  # paths of one kind in a line


@dataclass(frozen=True)
class NetworkPart:
    """A part of a network: `kind` is its class or function, `path` its module, `note` a remark about it."""

    kind: str
    note: str
    path: str


@dataclass(frozen=True)
class SpikingReport:
    """`replaced`: activations and neurons that are now neurons. `kept`: what stays though no spiking network has it."""

    replaced: tuple[NetworkPart, ...]
    kept: tuple[NetworkPart, ...]

    def __str__(self) -> str:
        first = f"{len(self.replaced)} neurons in the place of:" if self.replaced else "no activation found"
        kept = ["stays as it is:", *_lines(self.kept)] if self.kept else []
        return "\n".join([first, *_lines(self.replaced), *kept])


def make_spiking(network: nn.Module, neuron: Callable[[], nn.Module] = LIF) -> tuple[nn.Module, SpikingReport]:
    """Put neurons in the place of activations and of SpikingJelly's neurons; changes the network and returns it.

    Activations are the ReLU family of torch and timm, as modules, as attributes (`self.act = F.relu`) and as functions
    that a module's methods call (`F.relu(x)`). Activations stay if a function outside the class, a static method or a
    method called through super() calls them; a step warns of them. Gates, softmax and norms of each timestep stay too,
    and the report lists them: no spiking network has them, but all methods here train them. Parameters keep their
    names.

    `neuron` is called without arguments for each place. If it is `LIF` itself, a neuron of SpikingJelly becomes the LIF
    with its parameters, if there is one.

    A module that is used in several places is replaced by a neuron of its own in each. An activation that one module's
    forward calls several times becomes one neuron: neurons keep no state on carriers, but such a network cannot be
    called with plain tensors, one timestep after another.
    """
    work = _Conversion(neuron)
    made = work.neuron_for(network, "") if _is_replaced(network) else work.convert(network, "")
    return made, SpikingReport(tuple(work.replaced), tuple(work.kept))


class _Conversion:
    """The conversion of one network, part by part."""

    def __init__(self, neuron: Callable[[], nn.Module]) -> None:
        self._neuron = neuron
        self._seen = set[nn.Module]()
        self.replaced: list[NetworkPart] = []
        self.kept: list[NetworkPart] = []

    def convert(self, module: nn.Module, path: str) -> nn.Module:
        """Replace the parts of a module and of its children, each once; returns the module."""
        if module in self._seen:
            return module
        self._seen.add(module)
        if why := why_kept(module, path):
            self.kept.append(NetworkPart(type(module).__name__, why, path))
        if why == GETS_POSITIONS:
            return module
        inside = f"{path}." if path else ""
        # Not `named_children()`, which leaves out a module's second name.
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        for name, child in children:
            if _is_replaced(child):
                setattr(module, name, self.neuron_for(child, f"{inside}{name}"))
        functions = {name: function for name, value in vars(module).items() if (function := activation_name(value))}
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch's fast path computes the activation that it found
        rewritten = rewrite(type(module))  # type: ignore[arg-type]  # as there
        if rewritten.problem:
            self.kept.append(
                NetworkPart(type(module).__name__, f"calls activations as functions: {rewritten.problem}", path)
            )
        if rewritten.children:
            module.__class__ = rewritten.kind
        for name, function in {**functions, **rewritten.children}.items():
            setattr(module, name, self._neuron())
            self.replaced.append(NetworkPart(f"{function}()", "", f"{inside}{name}"))
        for name, child in children:
            if not _is_replaced(child):
                self.convert(child, f"{inside}{name}")
        return module

    def neuron_for(self, module: nn.Module, path: str) -> nn.Module:
        """The neuron for an activation or one of SpikingJelly's."""
        has_weights = next(module.parameters(), None) is not None
        made, note = None, "its weights are gone" if has_weights else ""
        if is_spikingjelly_neuron(module) and self._neuron is LIF:
            try:
                made, note = LIF(**keywords_of(module)), f"with its parameters{', learnt too' if has_weights else ''}"
            except ValueError as error:
                note = f"not with its parameters: {error}"
        self.replaced.append(NetworkPart(type(module).__name__, note, path))
        return self._neuron() if made is None else made


def _is_replaced(module: nn.Module) -> bool:
    return is_activation(module) or is_spikingjelly_neuron(module)


def _lines(parts: Iterable[NetworkPart]) -> Iterator[str]:
    """A line for each kind and note."""
    places: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for part in parts:
        places[part.kind, part.note].append(part.path or "the network")
    for (kind, note), paths in places.items():
        more = f", … and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        yield f"  {len(paths)} × {kind}: {', '.join(paths[:_SHOWN])}{more}{f' ({note})' if note else ''}"
