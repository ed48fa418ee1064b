"""Operations of a prediction by module, counted by SpikingJelly's `SynOpCounter`, `ACCounter` and `MACCounter`.

Those take a tensor of 0 and 1 for spikes, and an operation on anything else for dense multiplications. Here an input
that sums or averages spikes (average pools, SEW's sums) counts as the spikes that it is made of: hardware adds the
weight, divided beforehand by the size of the pool, once for each of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based.op_counter import (
    ACCounter,
    DispatchCounterMode,
    FlopCounter,
    MACCounter,
    SynOpCounter,
)
from torch import Tensor, nn

from rbp_engine.probes.layers import NEURON_LAYERS

aten = torch.ops.aten
#: Their scale and shift are folded into the weights before them.
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
#: Operations with weights or between activations, and which of their arguments is the input.
PRODUCTS: dict[Any, int] = {
    aten.convolution.default: 0,
    aten.mm.default: 0,
    aten.addmm.default: 1,
    aten.bmm.default: 0,
    aten.baddbmm.default: 1,
}
#: The largest pool, in places, whose averages are recognised: 16 × 16.
LARGEST_POOL = 256
TOLERANCE = 5e-5  # of 256 times an average in float32
SAMPLED = 2**16  # values that are looked at first


@dataclass(frozen=True)
class Operations:
    """Operations that a module carries out itself, and not one in it; `dense` are the MACs if nothing were spikes."""

    synops: int = 0
    acs: int = 0
    macs: int = 0
    dense: int = 0

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: "Operations") -> "Operations":
        return Operations(*(a - b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


class OperationCounter:
    """Counts the operations of a network while `counting`; `by_module` has them by the name of the module.

    Batch norms count nothing, since they are folded into weights, and the updates of neurons are not counted here.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        left_out = [*NEURON_LAYERS, *NORMS]
        self._synops = SynOpCounter(extra_ignore_modules=left_out)
        self._acs = ACCounter(extra_ignore_modules=left_out)
        self._macs = MACCounter(extra_ignore_modules=left_out)
        self._dense = FlopCounter(extra_ignore_modules=left_out)
        self._dense.rules = {product: self._dense.rules[product] for product in PRODUCTS}
        self._fired = False
        self._last: tuple[Tensor, Tensor | None] | None = None
        for counter, count in ((self._synops, _by_spikes), (self._acs, _by_spikes), (self._macs, _nothing)):
            for product, argument in PRODUCTS.items():
                rule = partial(self._made_of_spikes, counter.rules[product], count, argument)
                counter.rules[product] = rule

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Within it the network predicts, uncompiled and without gradients."""
        neurons = [module for module in self._model.modules() if isinstance(module, NEURON_LAYERS)]
        self._fired = False
        try:
            with ExitStack() as hooks, DispatchCounterMode([self._synops, self._acs, self._macs, self._dense]):
                for neuron in neurons:
                    hooks.enter_context(neuron.register_forward_hook(self._has_fired))
                yield
        finally:
            self._last = None

    def _spike_counts(self, values: Tensor) -> Tensor | None:
        """As the function; counters ask for the same values one after the other."""
        if self._last is None or self._last[0] is not values:
            self._last = values, spike_counts(values, fired=self._fired)
        return self._last[1]

    def by_module(self) -> dict[str, Operations]:
        """Operations of each module by its name, "" for the network itself, in the order of their first."""
        counters = (self._synops, self._acs, self._macs, self._dense)
        root = type(self._model).__name__
        scopes = [scope for counter in counters for scope in counter.get_counts()]
        within = {scope: self._total(scope) for scope in dict.fromkeys(scopes) if scope != "Global"}
        inside: dict[str, Operations] = defaultdict(Operations)
        for scope, total in within.items():
            parent = scope.rpartition(".")[0]
            while parent and parent not in within:  # a container that is not called itself
                parent = parent.rpartition(".")[0]
            inside[parent] += total
        return {scope.removeprefix(root).removeprefix("."): total - inside[scope] for scope, total in within.items()}

    def _total(self, scope: str) -> Operations:
        synops, acs, macs = (
            _sum(counter.get_counts().get(scope, {})) for counter in (self._synops, self._acs, self._macs)
        )
        return Operations(synops, acs, macs, _sum(self._dense.get_counts().get(scope, {})) // 2)

    def _has_fired(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        self._fired = True

    def _made_of_spikes(
        self,
        rule: "Rule",
        count: Callable[["Rule", int, Tensor, tuple[Any, ...], dict[str, Any], Any], int],
        argument: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
    ) -> int:
        """A counter's rule for a product whose input may sum or average spikes."""
        counts = self._spike_counts(args[argument])
        if counts is None or int(counts.max()) <= 1:
            return rule(args, kwargs, out)
        return count(rule, argument, counts, args, kwargs, out)


Rule = Callable[[tuple[Any, ...], dict[str, Any], Any], int]


def _by_spikes(
    rule: Rule, argument: int, counts: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> int:
    """The rule's counts for the first spike at each position, for the second, and so on."""
    total = 0
    for number in range(1, int(counts.max()) + 1):
        spikes = (counts >= number).to(args[argument].dtype)
        total += rule((*args[:argument], spikes, *args[argument + 1 :]), kwargs, out)
    return total


def _nothing(rule: Rule, argument: int, counts: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    return 0


def spike_counts(values: Tensor, *, fired: bool) -> Tensor | None:
    """How many spikes each value is the sum of, or the average over a pool of; None if the values are no spikes.

    Before a neuron has `fired`, the values are the network's input, which is one of spikes only if it is 0 and 1. The
    pool is the smallest that explains all values. One whose windows differ in size counts as the largest of them.
    """
    if bool(((values == 0) | (values == 1)).all()):
        return values
    some = values.flatten()[:SAMPLED].unique().double().cpu()
    if not fired or len(some) > LARGEST_POOL + 1 or not values.min() >= 0 or not values.isfinite().all():
        return None
    for places in range(1, LARGEST_POOL + 1):
        if _off(some, places) < TOLERANCE and _off(values, places) < TOLERANCE:
            return (values * places).round()
    return None


def _off(values: Tensor, places: int) -> float:
    """How far from whole numbers the values are, times the places of a pool."""
    scaled = values * places
    return float((scaled - scaled.round()).abs().max())


def _sum(counts: Mapping[Any, int]) -> int:
    return sum(counts.values())
