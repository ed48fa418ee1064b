"""Write operations as nodes of NIR (https://neuroir.org).

Our neuron is u_t = v_reset + λ·(v_{t−1} − v_reset) + I_t, NIR's is τ·dv/dt = (v_leak − v) + r·I. In Euler steps of dt
they are the same with

    τ = dt / (1 − λ)        r = τ / dt        v_leak = v_reset

and λ = 1 is `nir.IF` with r = 1/dt. NIR's neurons fire above the threshold, ours at it, too, so the threshold is
written as the next smaller number. Two edges into a node are a sum.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor

from rbp_engine.export.errors import no_node
from rbp_engine.export.operations import (
    AdaptivePool,
    AnySpike,
    AveragePool,
    ChannelMap,
    Convolution,
    Flattening,
    LinearMap,
    NetworkInput,
    Operation,
    Scaling,
    SpikingLayer,
    Sum,
    SumPool,
)

#: The key of a node's metadata, and of the graph's, and its value where the reset is soft. NIR has no field for it.
RESET = "reset"
SUBTRACT_THRESHOLD = "subtract_threshold"


@dataclass(frozen=True)
class Written:
    """A graph, and the names of its neuron layers in the order in which the network runs them."""

    graph: nir.NIRGraph
    neurons: dict[int, str]


def to_graph(
    operations: Sequence[Operation],
    dt: float,
    dtype: type[np.floating[Any]],
    *,
    soft_reset_as_metadata: bool = False,
    metadata: dict[str, Any] | None = None,
) -> Written:
    """The graph of the operations with numbers of type `dtype`, for steps of `dt` seconds.

    Raises ExportError for what NIR has no node for: a soft reset, unless it may be metadata, and λ = 0.
    """
    writer = _Writer(dt, dtype, soft_reset_as_metadata)
    for operation in operations:
        writer.add(operation)
    return writer.finish(operations[-1], metadata or {})


class _Writer:
    def __init__(self, dt: float, dtype: type[np.floating[Any]], soft_reset_as_metadata: bool) -> None:
        self._dt = dt
        self._dtype = dtype
        self._soft_reset_as_metadata = soft_reset_as_metadata
        self._nodes: dict[str, nir.NIRNode] = {}
        self._edges: list[tuple[str, str]] = []
        # The nodes whose sum an operation is.
        self._sources: dict[Operation, list[str]] = {}
        self._neurons: dict[int, str] = {}

    def add(self, operation: Operation) -> None:
        sources = [name for source in operation.inputs for name in self._sources[source]]
        if isinstance(operation, Sum):
            self._sources[operation] = self._once_each(sources, operation)
            return
        name = self._place(operation.path, self._node(operation), sources)
        if isinstance(operation, SpikingLayer):
            self._neurons[operation.number] = name
        self._sources[operation] = [name]

    def finish(self, last: Operation, metadata: dict[str, Any]) -> Written:
        self._place("output", nir.Output({"output": np.array(last.shape)}), self._sources[last])
        graph = nir.NIRGraph(self._nodes, self._edges, metadata)
        return Written(graph, self._neurons)

    def _place(self, path: str, node: nir.NIRNode, sources: Sequence[str]) -> str:
        """The name of a new node: the path of its module, and the kind of the node where that says too little."""
        kind = type(node).__name__.lower()
        name = path if path and not path[0].isdigit() else "_".join(filter(None, [kind, path]))
        if name in self._nodes:
            name = next(found for n in range(2, len(self._nodes) + 3) if (found := f"{name}_{n}") not in self._nodes)
        self._nodes[name] = node
        self._edges += [(source, name) for source in sources]
        return name

    def _once_each(self, sources: Sequence[str], operation: Operation) -> list[str]:
        """The sources of a sum; one that occurs more than once is scaled, since NIR has no edge twice."""
        named = []
        for source, times in Counter(sources).items():
            if times > 1:
                node = nir.Scale(np.full(operation.shape, times, self._dtype))
                source = self._place(f"{operation.path or 'sum'}_times", node, [source])
            named.append(source)
        return named

    def _node(self, operation: Operation) -> nir.NIRNode:
        match operation:
            case NetworkInput():
                return nir.Input({"input": np.array(operation.shape)})
            case Convolution():
                return self._convolution(operation)
            case LinearMap(bias=None):
                return nir.Linear(self._array(operation.weight))
            case LinearMap(bias=Tensor()):
                return nir.Affine(self._array(operation.weight), self._array(operation.bias))
            case ChannelMap():
                return self._channel_map(operation)
            case SpikingLayer():
                return self._neurons_node(operation)
            case AveragePool() | SumPool():
                pool = nir.AvgPool2d if isinstance(operation, AveragePool) else nir.SumPool2d
                return pool(*(np.array(sides) for sides in (operation.kernel, operation.stride, operation.padding)))
            case AnySpike():
                return nir.Threshold(np.full(operation.shape, 0.5, self._dtype))
            case Flattening():
                (source,) = operation.inputs
                return nir.Flatten({"input": np.array(source.shape)}, start_dim=0, end_dim=-1)
            case Scaling():
                return nir.Scale(self._array(operation.factors))
            case AdaptivePool():
                inside, outside = ("×".join(map(str, o.shape[1:])) for o in (operation.inputs[0], operation))
                raise no_node(
                    operation.path,
                    f"it averages {inside} to {outside} in windows of different sizes, and NIR's have one size. With "
                    "nothing but a flattening between it and a linear layer it would be folded into that",
                )
            case _:
                raise AssertionError(f"no node for {type(operation).__name__}")

    def _convolution(self, layer: Convolution) -> nir.Conv2d:
        """NIR's files take no groups: their weights are written with zeros between channels of different groups."""
        weight = layer.weight
        if layer.groups > 1:
            outputs, inputs = len(weight) // layer.groups, weight.shape[1]
            dense = weight.new_zeros(len(weight), inputs * layer.groups, *weight.shape[2:])
            for group in range(layer.groups):
                rows, columns = (
                    slice(group * outputs, (group + 1) * outputs),
                    slice(group * inputs, (group + 1) * inputs),
                )
                dense[rows, columns] = weight[rows]
            weight = dense
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias
        (source,) = layer.inputs
        return nir.Conv2d(
            input_shape=source.shape[1:],
            weight=self._array(weight),
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=1,
            bias=self._array(bias),
        )

    def _channel_map(self, norm: ChannelMap) -> nir.NIRNode:
        """A batch norm that is folded nowhere, as a convolution 1×1 or a linear layer with a diagonal matrix."""
        weight, bias = self._array(torch.diag(norm.scale)), self._array(norm.shift)
        if len(norm.shape) == 1:
            return nir.Affine(weight, bias)
        return nir.Conv2d(norm.shape[1:], weight[:, :, None, None], (1, 1), (0, 0), (1, 1), 1, bias)

    def _neurons_node(self, neurons: SpikingLayer) -> nir.NIRNode:
        parameters = neurons.parameters
        decay, v_reset = _each(neurons, parameters.decay), parameters.v_reset
        if v_reset is None and not self._soft_reset_as_metadata:
            raise no_node(
                neurons.path,
                "its reset is soft and subtracts the threshold, but NIR's neurons return to v_reset, which is another "
                "network. Train with neuron.reset=hard; or pass --soft-reset-as-metadata, and read the file with a "
                "program that looks there",
            )
        if np.any(decay == 0.0):
            raise no_node(
                neurons.path,
                "neuron.decay = 0 forgets at once, which no time constant of NIR's neurons does: train with a decay "
                "above 0",
            )
        settings: dict[str, Any] = {"metadata": {RESET: SUBTRACT_THRESHOLD}} if v_reset is None else {}
        rest = self._full(neurons, v_reset or 0.0)
        threshold = self._full(neurons, parameters.threshold)
        threshold = np.nextafter(threshold, self._dtype(-np.inf))
        if np.all(decay == 1.0):
            return nir.IF(self._full(neurons, 1.0 / self._dt), threshold, rest, **settings)
        r = 1.0 / (1.0 - decay)
        tau, resistance = (r * self._dt).astype(self._dtype), r.astype(self._dtype)
        return nir.LIF(tau, resistance, rest, threshold, rest, **settings)

    def _full(self, neurons: SpikingLayer, value: float | Tensor) -> Any:
        return _each(neurons, value).astype(self._dtype)

    def _array(self, values: Tensor | None) -> Any:
        assert values is not None
        return values.detach().cpu().contiguous().numpy().astype(self._dtype)


def _each(neurons: SpikingLayer, value: float | Tensor) -> Any:
    """The number of each neuron in float64: one for all, or what is learnt by channel."""
    return np.full(neurons.shape, value.detach().cpu() if isinstance(value, Tensor) else value, np.float64)
