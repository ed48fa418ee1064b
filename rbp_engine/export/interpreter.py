"""Execute a graph of NIR without cycles, by the equations of NIR's nodes in Euler steps."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import nir
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.export.graph import RESET, SUBTRACT_THRESHOLD


@dataclass(frozen=True)
class Execution:
    """The output at every timestep, [T, B, C], and the spikes of each neuron layer by its name, bool [T, B, …]."""

    output: Tensor
    spikes: dict[str, Tensor]


@torch.no_grad()
def execute(graph: nir.NIRGraph, inputs: Tensor, dt: float) -> Execution:
    """Execute a graph on inputs [T, B, …], whose type is that of the computation, in steps of `dt` seconds."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        before[target].append(source)
    left = Counter(source for source, _ in graph.edges)
    values: dict[str, Tensor] = {}
    spikes: dict[str, Tensor] = {}
    output = inputs
    for name in TopologicalSorter(before).static_order():
        first, *others = [values[source] for source in before[name]] or [inputs]
        current = sum(others, first)
        left.subtract(before[name])
        values = {source: value for source, value in values.items() if left[source]}
        node = graph.nodes[name]
        if isinstance(node, (nir.LIF, nir.IF)):
            output = _neurons(node, current, dt)
            spikes[name] = output.bool()
        else:
            # Time is folded into the batch: [T·B, …].
            output = _stateless(node)(current.flatten(0, 1)).unflatten(0, current.shape[:2])
        values[name] = output
    return Execution(output, spikes)


def _neurons(node: Any, currents: Tensor, dt: float) -> Tensor:
    """v ← v + dt·dv/dt = keep·v + gain·I + drift, a spike where v > v_threshold, and the reset."""
    if isinstance(node, nir.LIF):
        # In float64, as a program would compute its own constants from those of the file.
        rate = dt / node.tau.astype(np.float64)
        keep, gain, drift = 1.0 - rate, rate * node.r, rate * node.v_leak
    else:
        keep, gain, drift = np.ones(1), dt * node.r.astype(np.float64), np.zeros(1)
    # r = τ/dt is meant as a gain of 1. Rounded below it, spikes of 1 would not reach a threshold of 1.
    gain = np.where(np.isclose(gain, 1.0, rtol=1e-6), 1.0, gain)
    keep, gain, drift = (_tensor(constant, currents) for constant in (keep, gain, drift))
    threshold, v_reset = _tensor(node.v_threshold, currents), _tensor(node.v_reset, currents)
    soft = node.metadata.get(RESET) == SUBTRACT_THRESHOLD
    # The file has the next number below the threshold.
    subtracted = torch.nextafter(threshold, torch.full_like(threshold, torch.inf))
    membrane = v_reset.expand(currents.shape[1:])
    spikes = torch.empty_like(currents)
    for t, current in enumerate(currents):
        membrane = keep * membrane + gain * current + drift
        fired = membrane > threshold
        membrane = torch.where(fired, membrane - subtracted if soft else v_reset, membrane)
        spikes[t] = fired
    return spikes


def _stateless(node: Any) -> Callable[[Tensor], Tensor]:
    """The function of a node without a state, of a batch [B, …]."""
    match node:
        case nir.Input() | nir.Output():
            return lambda x: x
        case nir.Conv2d():
            settings = [_sides(node.stride), _sides(node.padding), _sides(node.dilation), int(node.groups)]
            return lambda x: F.conv2d(x, _tensor(node.weight, x), _tensor(node.bias, x), *settings)
        case nir.Affine():
            return lambda x: F.linear(x, _tensor(node.weight, x), _tensor(node.bias, x))
        case nir.Linear():
            return lambda x: F.linear(x, _tensor(node.weight, x))
        case nir.Scale():
            return lambda x: x * _tensor(node.scale, x)
        case nir.Threshold():
            return lambda x: (x > _tensor(node.threshold, x)).to(x.dtype)
        case nir.Flatten():
            start, end = (int(dim) + (dim >= 0) for dim in (node.start_dim, node.end_dim))
            return lambda x: x.flatten(start, end)
        case nir.AvgPool2d() | nir.SumPool2d():
            kernel, stride, padding = (_sides(array) for array in (node.kernel_size, node.stride, node.padding))
            divisor = 1 if isinstance(node, nir.SumPool2d) else None
            return lambda x: F.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor)
        case _:
            raise ValueError(f"no equation for nir.{type(node).__name__}")


def _sides(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(int(side) for side in np.broadcast_to(value, 2))


def _tensor(array: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(array).to(like)
