"""A spiking network from one that has activations, or SpikingJelly's neurons."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from rbp_engine.spiking.convert.activations import (
    acts_on_positions,
    class_name,
    is_activation,
    is_activation_function,
    is_fused,
    norm_and_neuron,
    why_kept,
)
from rbp_engine.spiking.convert.forward_source import Rewritten, rewrite
from rbp_engine.spiking.convert.spikingjelly_map import is_spikingjelly_neuron, keywords_of
from rbp_engine.spiking.neuron import LIF

_SHOWN = 3  # paths of one kind in a line


@dataclass(frozen=True)
class NetworkPart:
    """A part of a network: `kind` is its class or function, `path` its module, `note` what to know about it."""

    kind: str
    note: str
    path: str


@dataclass(frozen=True)
class SpikingReport:
    """`replaced`: activations and neurons that are now neurons. `kept`: what no spiking network has, and stays."""

    replaced: tuple[NetworkPart, ...]
    kept: tuple[NetworkPart, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} neurons in the place of:" if self.replaced else "no activation found"]
        lines += _lines(self.replaced)
        if self.kept:
            lines += ["stays as it is:", *_lines(self.kept)]
        return "\n".join(lines)


def make_spiking(network: nn.Module, neuron: Callable[[], nn.Module] = LIF) -> tuple[nn.Module, SpikingReport]:
    """Put neurons in the place of activations and of SpikingJelly's neurons; changes the network and returns it.

    Activations are the ReLU family of torch and timm, as modules, as attributes (`self.act = F.relu`) and as functions
    that a module's methods call (`F.relu(x)`). Those that a function outside the class or a static method calls stay,
    and so do gates, softmax and norms of each timestep: no spiking network has them, but all methods here train them.
    The report lists what stays. Names of parameters stay, too.

    `neuron` is called without arguments for each place. Where it is `LIF` itself, a neuron of SpikingJelly becomes the
    LIF with its parameters, if there is one.

    A module that is used in several places is replaced by a neuron of its own in each. An activation that one module's
    forward calls several times becomes one neuron: neurons keep no state on carriers, but such a network cannot be
    called with plain tensors, one timestep after another.
    """
    work = _Conversion(neuron)
    if _is_replaced(network):
        return work.neuron_for(network, ""), work.report()
    work.convert_all("", network)
    return network, work.report()


class _Conversion:
    def __init__(self, neuron: Callable[[], nn.Module]) -> None:
        self._neuron = neuron
        self._rewritten: dict[type[nn.Module], Rewritten] = {}
        self._seen = set[nn.Module]()
        self._replaced: list[NetworkPart] = []
        self._kept: list[NetworkPart] = []

    def report(self) -> SpikingReport:
        return SpikingReport(tuple(self._replaced), tuple(self._kept))

    def convert_all(self, path: str, module: nn.Module) -> None:
        """Replace what is in a module and in its children, each once."""
        if module in self._seen:
            return
        self._seen.add(module)
        if acts_on_positions(path, module):
            self._kept.append(NetworkPart(class_name(module), "gets positions and no spikes", path))
            return
        children = [(name, child) for name, child in module.named_children() if not _is_replaced(child)]
        self._convert(path, module)
        for name, child in children:
            self.convert_all(_join(path, name), child)

    def _convert(self, path: str, module: nn.Module) -> None:
        """Replace the children and the functions of one module, but not what is in its children."""
        why = why_kept(module)
        if why:
            self._kept.append(NetworkPart(class_name(module), why, path))
        # Not `named_children()`, which leaves out a module's second name.
        for name, child in list(module._modules.items()):
            if child is not None and _is_replaced(child):
                setattr(module, name, self.neuron_for(child, _join(path, name)))
        for name, value in list(vars(module).items()):
            if is_activation_function(value):
                self._put(module, name, path, f"{_function_name(value)}()")
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch's fast path computes the activation that it found
        self._rewrite(path, module)

    def neuron_for(self, module: nn.Module, path: str) -> nn.Module:
        """The neuron for an activation or one of SpikingJelly's, behind its norm if both are one."""
        note = "" if not list(module.parameters()) else "its weights are gone"
        made: nn.Module | None = None
        if is_fused(module):
            made, note = norm_and_neuron(module, self._neuron)
        elif is_spikingjelly_neuron(module) and self._neuron is LIF:
            try:
                made = LIF(**keywords_of(module))
                note = "with its parameters, learnt too" if list(module.parameters()) else "with its parameters"
            except ValueError as error:
                note = f"not with its parameters: {error}"
        self._replaced.append(NetworkPart(class_name(module), note, path))
        return self._neuron() if made is None else made

    def _rewrite(self, path: str, module: nn.Module) -> None:
        kind = type(module)
        if kind not in self._rewritten:
            self._rewritten[kind] = rewrite(kind)
        found = self._rewritten[kind]
        if found.problem:
            self._kept.append(NetworkPart(class_name(module), f"calls activations as functions: {found.problem}", path))
        if found.calls:
            module.__class__ = found.kind
        for call in found.calls:
            self._put(module, call.child, path, f"{call.function}()")

    def _put(self, module: nn.Module, name: str, path: str, kind: str) -> None:
        setattr(module, name, self._neuron())
        self._replaced.append(NetworkPart(kind, "", _join(path, name)))


def _is_replaced(module: nn.Module) -> bool:
    return is_activation(module) or is_spikingjelly_neuron(module) or is_fused(module)


def _function_name(value: Any) -> str:
    return str(getattr(value, "func", value).__name__)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _lines(parts: Iterable[NetworkPart]) -> list[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        places.setdefault((part.kind, part.note), []).append(part.path or "the network")
    lines = []
    for (kind, note), paths in places.items():
        more = f", … and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"  {len(paths)} × {kind}: {', '.join(paths[:_SHOWN])}{more}{f' ({note})' if note else ''}")
    return lines
