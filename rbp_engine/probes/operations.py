"""The operations of a prediction, module by module, and the spikes that drive them: all that energy is computed from.

Additions are counted by the rules of SpikingJelly's `ACCounter`. Those take a tensor of 0 and 1 for spikes, and a
product of anything else for dense multiplications. Here an input that sums or averages spikes (average pools,
SEW's sums) counts as the spikes that it is made of: hardware adds the weight, divided beforehand by the size of the
pool, once for each of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based.op_counter import ACCounter, BaseCounter, DispatchCounterMode, is_binary_tensor
from torch import Tensor, nn

from rbp_engine.methods.protocol import predict
from rbp_engine.probes.layers import NEURON_LAYERS, WEIGHT_LAYERS, hooked
from rbp_engine.spiking import LIF, SequenceTensor

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
class LayerCall:
    """What a layer received in a call, or neurons put out, for all images.

    `shape` is that of an image at a timestep, `of_image` says that no neuron was before. `steps` are those of an image,
    1 if it is the same at all of them. `spikes` are None if the values are not made of spikes.
    """

    shape: torch.Size
    of_image: bool
    steps: int
    values: int
    total: float  # of the values
    spikes: float | None


@dataclass
class Operations:
    """Operations that a module carried out itself, and not one in it, for all images.

    `synops` are weights added for spikes, `acs` all additions, and `macs` multiplications with an addition. `ann_macs`
    are those of an ANN, whose values are real numbers of one timestep. `calls` are those of WEIGHT_LAYERS and neurons.
    """

    synops: int = 0
    acs: int = 0
    macs: int = 0
    ann_macs: float = 0.0
    calls: list[LayerCall] = field(default_factory=list)


def count_operations(model: nn.Module, images: Tensor, timesteps: int) -> dict[str, Operations]:
    """The operations of a prediction in float32, by the names of the modules in the order of their first.

    "" is the network itself. Batch norms count nothing, since they are folded into weights, nor do neurons.
    """
    count, counter = _Count(timesteps), BaseCounter()
    counter.ignore_modules = [*NEURON_LAYERS, *NORMS]
    counter.rules = {operation: partial(count.add, operation, rule) for operation, rule in ACCounter().rules.items()}
    del counter.rules[aten.native_batch_norm.default]
    hooks = (
        hook
        for name, module in model.named_modules()
        for hook in (
            module.register_forward_pre_hook(partial(count.enter, name)),
            module.register_forward_hook(count.leave),
        )
    )
    with hooked(hooks), _eager(model), DispatchCounterMode([counter]):
        predict(model, images, timesteps)
    return {name: own for name, own in count.by_module.items() if name is not None}


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Within it neurons run uncompiled, as the counters need it."""
    kernels = [(module, module.kernel) for module in model.modules() if isinstance(module, LIF)]
    for module, _ in kernels:
        module.kernel = "eager"
    try:
        yield
    finally:
        for module, kernel in kernels:
            module.kernel = kernel


class _Count:
    """The operations so far, and the modules that are running, the innermost last, each with the timesteps of its call.

    None has the operations outside of all modules, and those by which values are looked at.
    """

    def __init__(self, timesteps: int) -> None:
        self.by_module: defaultdict[str | None, Operations] = defaultdict(Operations)
        self._timesteps = timesteps
        self._running: list[tuple[str | None, int]] = [(None, timesteps)]
        self._fired = False

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A hook before every module."""
        received = args[0] if args and isinstance(args[0], SequenceTensor) else None
        steps = 1 if received is not None and received.static else self._timesteps
        self._running.append((name, steps))
        if received is not None and isinstance(module, WEIGHT_LAYERS):
            values = received.values()  # sums that were put off are carried out here, as by the layer
            self._see(name, values if received.static else values.flatten(0, 1), steps)

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """A hook after every module."""
        name, _ = self._running.pop()
        if isinstance(module, NEURON_LAYERS) and isinstance(output, SequenceTensor):
            self._fired = True
            # What is around the neurons goes on with spikes, even where an image came in that has no time.
            self._running = [(around, self._timesteps) for around, _ in self._running]
            self._see(name, output.steps().flatten(0, 1), self._timesteps)

    def _see(self, name: str | None, values: Tensor, steps: int) -> None:
        """Look at values [N, …] that a module receives or puts out."""
        self._running.append((None, steps))
        counts = spike_counts(values, fired=self._fired)
        spikes = None if counts is None else float(counts.sum(dtype=torch.float64))
        total = float(values.sum(dtype=torch.float64))
        call = LayerCall(values.shape[1:], not self._fired, steps, values.numel(), total, spikes)
        self.by_module[name].calls.append(call)
        self._running.pop()

    def add(
        self,
        operation: Any,
        additions: Callable[..., int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Tensor,
    ) -> int:
        """Count an operation; `additions` is its rule. The counter itself is told of none."""
        name, steps = self._running[-1]
        own, at = self.by_module[name], PRODUCTS.get(operation)
        if at is None:
            own.acs += additions(args, kwargs, out)
            return 0
        counts, dense = spike_counts(args[at], fired=self._fired), _dense(operation, args, out)
        if counts is None:
            synops = additions(args, kwargs, out)
            own.macs += 0 if is_binary_tensor(args[at + 1]) else dense  # the other factor may be spikes
        else:  # the first spike of each position, the second, and so on
            spikes = ((counts >= number).to(args[at].dtype) for number in range(1, int(counts.max()) + 1))
            synops = sum(additions((*args[:at], one, *args[at + 1 :]), kwargs, out) for one in spikes)
        own.synops += synops
        own.acs += synops
        own.ann_macs += dense / steps
        return 0


def _dense(product: Any, args: tuple[Any, ...], out: Tensor) -> int:
    """The multiplications of a product if neither factor were spikes."""
    if product is not aten.convolution.default:
        return int(out.numel() * args[PRODUCTS[product]].shape[-1])
    values, weight, transposed = args[0], args[1], args[6]
    return int((values if transposed else out).numel() * weight[0].numel())


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
