"""The operations of a network in evaluation mode, as the walk finds them.

Shapes are those of one sample at one timestep, without batch and time: [C, H, W] or [N]. What NIR cannot express is an
`ExportError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from rbp_engine.errors import UserError
from rbp_engine.spiking.neuron import LIFNeurons


class ExportError(UserError):
    """The network has no file of NIR; the message names the layer, why, and what would help."""


def no_node(path: str, why: str) -> ExportError:
    """The error for the module at `path` in the network."""
    return ExportError(f"layer {path}: {why}" if path else f"the network: {why}")


Pair = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation:
    """`path` is the module's in the network, `shape` that of the result."""

    path: str
    inputs: tuple["Operation", ...]
    shape: tuple[int, ...]


class NetworkInput(Operation):
    """What the network is shown."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearMap(Operation):
    """`weight` is [N_out, N_in], `bias` [N_out]; `folded` names the kinds of operations that became part of them."""

    weight: Tensor
    bias: Tensor | None
    folded: tuple[Literal["batch norm", "pooling"], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(LinearMap):
    """`weight` is [C_out, C_in / groups, kH, kW], `bias` [C_out]."""

    stride: Pair
    padding: Pair | str
    dilation: Pair
    groups: int


@dataclass(frozen=True, eq=False, kw_only=True)
class SpikingLayer(Operation):
    """A layer of neurons; `number` counts such layers in the order in which the network runs them."""

    parameters: LIFNeurons
    number: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Pooling(Operation):
    """Means over windows of one size, in which padding counts as zeros; sums, if `summed`."""

    kernel: Pair
    stride: Pair
    padding: Pair
    summed: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptivePool(Operation):
    """Means over windows of different sizes: `rows` [H_out, H_in] and `columns` [W_out, W_in] are their weights."""

    rows: Tensor
    columns: Tensor


class AnySpike(Operation):
    """1 where a sum of spikes is at least 1: with the sum over a window, the max pooling of spikes."""


class Flattening(Operation):
    """[C, H, W] as [N]."""


class Sum(Operation):
    """The sum of its inputs."""


def leading_to(last: Operation, operations: Sequence[Operation]) -> list[Operation]:
    """The operations that `last` depends on, in their order."""
    needed = {last}
    for operation in reversed(operations):
        if operation in needed:
            needed.update(operation.inputs)
    return [operation for operation in operations if operation in needed]
