"""Compare a graph of NIR with the network that it was written from."""

import copy
from dataclasses import dataclass

import nir
import torch
from torch import Tensor, nn

from rbp_engine.export.errors import ExportError
from rbp_engine.export.graph import Written
from rbp_engine.export.interpreter import execute
from rbp_engine.methods.protocol import Input, is_static, predict
from rbp_engine.spiking import LIF

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
    exact, images = copy.deepcopy(model).double(), images.double()
    recorded: list[Tensor] = []
    for module in exact.modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda module, inputs, spikes: recorded.append(spikes.steps() > 0))
    logits = predict(exact, images, timesteps)
    found = execute(written.graph, Input(images, timesteps, is_static(images)).steps(), dt)
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
    shown = Input(images.float(), len(logits), is_static(images)).steps()
    output = execute(graph, shown, dt).output.mean(0)
    expected = logits.float().mean(0)
    same = int((output.argmax(1) == expected.argmax(1)).sum())
    return PredictionCheck(len(expected), same, float((output - expected).abs().max()))
