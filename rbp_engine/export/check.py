"""Execute a graph of NIR by the equations of its nodes, in Euler steps, and compare it with its network."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import nir
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbp_engine.export.graph import RESET, SUBTRACT_THRESHOLD, Written
from rbp_engine.export.operations import ExportError
from rbp_engine.methods.inputs import Input, is_static
from rbp_engine.methods.protocol import predict
from rbp_engine.spiking import LIF


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
    """The function that a node without a state applies to a batch [B, …]."""
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


# The share of spikes that may differ. In float64, rounding moves a membrane across the threshold only if it lies on it;
# a wrong graph differs far more.
LARGEST_SHARE = 1e-3
# Relative to the largest logit, in float64 and from the same spikes.
LARGEST_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class SpikeCheck:
    """In float64: how many outputs of neurons were compared, how many of them are spikes, and how many differ."""

    compared: int
    spikes: int
    differ: int


@dataclass(frozen=True)
class PredictionCheck:
    """For a file: how many predictions equal the network's, and the largest difference of a logit's time mean."""

    images: int
    same: int
    largest_difference: float


def check_spikes(model: nn.Module, written: Written, images: Tensor, timesteps: int, dt: float) -> SpikeCheck:
    """Compare every spike of the network and of a float64 graph, both in float64, and the logits that follow from them.

    Raises ExportError if they are not the same network.
    """
    exact, images = copy.deepcopy(model).double(), images.double()
    recorded: list[Tensor] = []
    for module in exact.modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda module, inputs, spikes: recorded.append(spikes.steps() > 0))
    logits = predict(exact, images, timesteps)
    executed = execute(written.graph, Input(images, timesteps, is_static(images)).steps(), dt)
    pairs = [(recorded[number], executed.spikes[name]) for number, name in written.neurons.items()]
    check = SpikeCheck(
        sum(ours.numel() for ours, _ in pairs),
        sum(int(ours.sum()) for ours, _ in pairs),
        sum(int((ours != theirs).sum()) for ours, theirs in pairs),
    )
    if check.differ > LARGEST_SHARE * check.spikes:
        raise ExportError(
            f"the graph differs from the network in {check.differ:,} places, where the network has {check.spikes:,} "
            "spikes, so nothing is written. Either membranes stand exactly on the threshold, as with weights that are "
            "whole numbers, or this is an error of rbp: please report it"
        )
    same = torch.ones(logits.shape[:2], dtype=torch.bool)
    for ours, theirs in pairs:
        same &= (ours == theirs).flatten(2).all(2)
    _check_logits(logits[same], executed.output[same])
    return check


def _check_logits(ours: Tensor, theirs: Tensor) -> None:
    """Compare logits [N, C] of the timesteps and images whose spikes are all the same."""
    if not len(ours):
        raise ExportError(
            "in each image and timestep a spike of the graph differs from the network's, so no logits can be compared "
            "and nothing is written: membranes stand exactly on the threshold, as with weights that are whole numbers"
        )
    if not torch.allclose(theirs, ours, rtol=0.0, atol=LARGEST_DIFFERENCE * float(ours.abs().max())):
        raise ExportError(
            f"the graph's logits differ from the network's by up to {float((ours - theirs).abs().max()):.1e} where all "
            "spikes are the same, so nothing is written: this is an error of rbp, please report it"
        )


def check_predictions(logits: Tensor, graph: nir.NIRGraph, images: Tensor, dt: float) -> PredictionCheck:
    """Compare the logits [T, B, C] of the network with those of a graph that was read from a file, in float32."""
    shown = Input(images.float(), len(logits), is_static(images)).steps()
    output = execute(graph, shown, dt).output.mean(0)
    expected = logits.float().mean(0)
    same = int((output.argmax(1) == expected.argmax(1)).sum())
    return PredictionCheck(len(expected), same, float((output - expected).abs().max()))
