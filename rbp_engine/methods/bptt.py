"""Backpropagation through time: the graph of all T timesteps, the exact surrogate gradient."""

import torch
from torch import Tensor, nn

from rbp_engine.methods.protocol import (
    Precision,
    StepOutput,
    as_sequence,
    carried,
    cross_entropy,
    full,
    images_by_step,
    lowered,
    predict,
    reset_state,
)
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.single_step import StepTensor
from rbp_engine.spiking.tape import Tape


class BPTT:
    """Multi-step BPTT: cost and memory of the backward grow with T."""

    name = "bptt"

    def __init__(self, timesteps: int, precision: Precision = "fp32") -> None:
        self.timesteps = timesteps
        self.precision = precision

    def step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor = 1.0) -> StepOutput:
        reset_state(model)
        sequence = as_sequence(lowered(images, self.precision), self.timesteps)
        logits = carried(model(sequence), SequenceTensor).time_mean()
        loss = cross_entropy(logits, labels)
        (loss * weight).backward()
        return StepOutput(loss.detach(), full(logits).detach())

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        return predict(model, lowered(images, self.precision), self.timesteps if timesteps is None else timesteps)


class BPTTSingleStep:
    """Single-step BPTT: the loop over time is outside the network, batch norm sees each step's own B samples."""

    name = "bptt_s"

    def __init__(self, timesteps: int, precision: Precision = "fp32") -> None:
        self.timesteps = timesteps
        self.precision = precision

    def step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor = 1.0) -> StepOutput:
        reset_state(model)
        tape = Tape(self.timesteps)
        by_step = []
        for images_t in images_by_step(lowered(images, self.precision), self.timesteps):
            tape.rewind()
            by_step.append(carried(model(StepTensor(images_t, tape, through_time=True)), StepTensor).values)
        tape.check_complete()
        logits = full(torch.stack(by_step)).mean(0)
        loss = cross_entropy(logits, labels)
        (loss * weight).backward()
        return StepOutput(loss.detach(), full(logits).detach())

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        return predict(model, lowered(images, self.precision), self.timesteps if timesteps is None else timesteps)
