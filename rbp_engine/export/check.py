"""Compare a graph of NIR with the network that it was written from."""

import copy
from dataclasses import dataclass
from typing import Self

import nir
import torch
from torch import Tensor, nn

from rbp_engine.export.errors import ExportError
from rbp_engine.export.graph import Written
from rbp_engine.export.interpreter import execute
from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.protocol import predict
from rbp_engine.spiking.carriers.sequence import SequenceTensor
from rbp_engine.spiking.kernels.neuron_input import Current
from rbp_engine.spiking.kernels.neurons import Neurons

# Of the spikes. In float64 rounding moves a membrane across the threshold only where it stands on it; a wrong graph
# differs far more.
LARGEST_SHARE = 1e-3
# Of the largest logit, in float64 and from the same spikes.
LARGEST_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class SpikeCheck:
    """In float64: how many outputs of neurons were compared, how many are spikes, and how many differ."""

    compared: int
    spikes: int
    differ: int


@dataclass(frozen=True)
class PredictionCheck:
    """Of a file: predictions that are those of the network, and the largest difference of a logit's time mean."""

    images: int
    same: int
    largest_difference: float


def check_spikes(model: nn.Module, written: Written, images: Tensor, timesteps: int, dt: float) -> SpikeCheck:
    """Compare every spike of the network and of a float64 graph, both in float64, and the logits that follow from them.

    Raises ExportError if they are not the same network.
    """
    exact = copy.deepcopy(model).double()
    recorded: list[Tensor] = []

    def watched(values: Tensor, steps: int, static: bool) -> SequenceTensor:
        return _WatchedTensor(values, steps, static, recorded)

    logits = predict(exact, images.double(), timesteps, carrier=watched)
    found = execute(written.graph, _over_time(images.double(), timesteps), dt)
    pairs = [(recorded[number], found.spikes[name]) for number, name in written.neurons.items()]
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
    _check_logits(logits[same], found.output[same])
    return check


def _check_logits(ours: Tensor, theirs: Tensor) -> None:
    """Compare logits [N, C] of the timesteps and images in which every spike is the same."""
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
    output = execute(graph, _over_time(images.float(), len(logits)), dt).output.mean(0)
    expected = logits.float().mean(0)
    same = int((output.argmax(1) == expected.argmax(1)).sum())
    return PredictionCheck(len(expected), same, float((output - expected).abs().max()))


def _over_time(images: Tensor, timesteps: int) -> Tensor:
    """The images [T, B, …] as the graph is shown them."""
    return images.expand(timesteps, *images.shape) if is_static(images) else images


class _WatchedTensor(SequenceTensor):
    """A sequence whose neuron layers leave their spikes in a list."""

    def __init__(self, values: Tensor | Current, timesteps: int, static: bool, recorded: list[Tensor]) -> None:
        super().__init__(values, timesteps, static)
        self._recorded = recorded

    def with_values(self, values: Tensor | Current, *, static: bool = False) -> Self:
        return type(self)(values, self.timesteps, static, self._recorded)

    def fire(self, neurons: Neurons) -> Self:
        spikes = super().fire(neurons)
        self._recorded.append(spikes.steps() > 0)
        return spikes
