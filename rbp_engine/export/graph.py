"""Write operations as nodes of NIR (https://neuroir.org).

Our neuron is u_t = v_reset + λ·(v_{t−1} − v_reset) + I_t, NIR's is τ·dv/dt = (v_leak − v) + r·I. In Euler steps of dt
they are the same with

    τ = dt / (1 − λ)        r = τ / dt        v_leak = v_reset

and λ = 1 is `nir.IF` with r = 1/dt. NIR's neurons fire above the threshold, ours at it, too, so the threshold is
written as the next smaller number. Two edges into a node are a sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.export.operations import (
    AdaptivePool,
    AnySpike,
    Convolution,
    Flattening,
    LinearMap,
    NetworkInput,
    Operation,
    Pooling,
    SpikingLayer,
    Sum,
    no_node,
)

#: The key of a node's metadata, and of the graph's, and its value where the reset is soft. NIR has no field for it.
RESET = "reset"
SUBTRACT_THRESHOLD = "subtract_threshold"


@dataclass(frozen=True)
class Written:
    """A graph, and the names of its neuron layers by their number."""

    graph: nir.NIRGraph
    neurons: dict[int, str]


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written: their type, for steps of `dt` seconds, and whether metadata may hold a soft reset."""

    dt: float
    dtype: type[np.floating[Any]]
    soft_reset_as_metadata: bool = False

    def array(self, values: Tensor) -> NDArray[Any]:
        """The values of a tensor."""
        return values.detach().cpu().contiguous().numpy().astype(self.dtype)

    def full(self, shape: Sequence[int], value: float | Tensor) -> NDArray[Any]:
        """One value for all, or the values learnt by channel, in the shape of a sample."""
        return _each(shape, value).astype(self.dtype)


def to_graph(operations: Sequence[Operation], form: NumberFormat, metadata: dict[str, Any] | None = None) -> Written:
    """The graph of the operations.

    Raises ExportError for what NIR has no node for: a soft reset, unless it may be metadata, and λ = 0.
    """
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[tuple[str, str]] = []
    # The nodes whose sum an operation is.
    names: dict[Operation, list[str]] = {}

    def place(path: str, node: nir.NIRNode, sources: Sequence[str]) -> list[str]:
        """The name of a new node: the path of its module, and the kind of the node where that says too little."""
        kind = type(node).__name__.lower()
        name = path if path and not path[0].isdigit() else "_".join(filter(None, [kind, path]))
        if name in nodes:
            name = next(candidate for n in range(2, len(nodes) + 3) if (candidate := f"{name}_{n}") not in nodes)
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return [name]

    for operation in operations:
        sources = [name for source in operation.inputs for name in names[source]]
        if not isinstance(operation, Sum):
            names[operation] = place(operation.path, _node(operation, form), sources)
            continue
        if len({*sources}) < len(sources):
            raise no_node(operation.path, "it adds the same values twice, and NIR has no edge twice")
        names[operation] = sources
    place("output", nir.Output({"output": np.array(operations[-1].shape)}), names[operations[-1]])
    neurons = {layer.number: names[layer][0] for layer in operations if isinstance(layer, SpikingLayer)}
    return Written(nir.NIRGraph(nodes, edges, metadata or {}), neurons)


def _node(operation: Operation, form: NumberFormat) -> nir.NIRNode:
    match operation:
        case NetworkInput():
            return nir.Input({"input": np.array(operation.shape)})
        case Convolution():
            return _convolution(operation, form)
        case LinearMap(bias=None):
            return nir.Linear(form.array(operation.weight))
        case LinearMap(bias=Tensor() as bias):
            return nir.Affine(form.array(operation.weight), form.array(bias))
        case SpikingLayer():
            return _neurons(operation, form)
        case Pooling():
            kind = nir.SumPool2d if operation.summed else nir.AvgPool2d
            return kind(*(np.array(sides) for sides in (operation.kernel, operation.stride, operation.padding)))
        case AnySpike():
            return nir.Threshold(form.full(operation.shape, 0.5))
        case Flattening():
            return nir.Flatten({"input": np.array(operation.inputs[0].shape)}, start_dim=0, end_dim=-1)
        case AdaptivePool():
            inside, outside = ("×".join(map(str, o.shape[1:])) for o in (operation.inputs[0], operation))
            raise no_node(
                operation.path,
                f"it averages {inside} to {outside} in windows of different sizes, and NIR's have one size. With "
                "nothing but a flattening between it and a linear layer it would be folded into that",
            )
        case _:
            raise AssertionError(f"no node for {type(operation).__name__}")


def _convolution(layer: Convolution, form: NumberFormat) -> nir.Conv2d:
    """NIR's files take no groups: their weights are written with zeros between channels of different groups."""
    weight, groups = layer.weight.unflatten(0, (layer.groups, -1)), torch.arange(layer.groups)
    dense = weight.new_zeros(layer.groups, weight.shape[1], layer.groups, *weight.shape[2:])
    dense[groups, :, groups] = weight
    bias = weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return nir.Conv2d(
        input_shape=layer.inputs[0].shape[1:],
        weight=form.array(dense.flatten(2, 3).flatten(0, 1)),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=1,
        bias=form.array(bias),
    )


def _neurons(layer: SpikingLayer, form: NumberFormat) -> nir.NIRNode:
    decay, v_reset = _each(layer.shape, layer.parameters.decay), layer.parameters.v_reset
    if v_reset is None and not form.soft_reset_as_metadata:
        raise no_node(
            layer.path,
            "its reset is soft and subtracts the threshold, but NIR's neurons return to v_reset, which is another "
            "network. Train with neuron.reset=hard; or pass --soft-reset-as-metadata, and read the file with a "
            "program that looks there",
        )
    if np.any(decay == 0.0):
        raise no_node(
            layer.path,
            "neuron.decay = 0 forgets at once, which no time constant of NIR's neurons does: train with a decay "
            "above 0",
        )
    settings: dict[str, Any] = {"metadata": {RESET: SUBTRACT_THRESHOLD}} if v_reset is None else {}
    rest = form.full(layer.shape, v_reset or 0.0)
    threshold = np.nextafter(form.full(layer.shape, layer.parameters.threshold), form.dtype(-np.inf))
    if np.all(decay == 1.0):
        return nir.IF(form.full(layer.shape, 1.0 / form.dt), threshold, rest, **settings)
    r = 1.0 / (1.0 - decay)
    return nir.LIF((r * form.dt).astype(form.dtype), r.astype(form.dtype), rest, threshold, rest, **settings)


def _each(shape: Sequence[int], value: float | Tensor) -> NDArray[np.float64]:
    """The value for each neuron, in float64."""
    return np.full(shape, value.detach().cpu() if isinstance(value, Tensor) else value, np.float64)
