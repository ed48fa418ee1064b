"""Backpropagation through time: the graph of all T timesteps, the exact surrogate gradient."""

import torch
from torch import Tensor, nn

from rbp_engine.methods.protocol import (
    BaseMethod,
    StepOutput,
    as_sequence,
    backward,
    carried,
    full,
    images_by_step,
)
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.carriers.step import StepTensor
from rbp_engine.spiking.carriers.step_state import StepState


class BPTT(BaseMethod):
    """Multi-step BPTT: cost and memory of the backward grow with T."""

    name = "bptt"

    def _step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor) -> StepOutput:
        sequence = as_sequence(images, self.timesteps)
        logits = carried(model(sequence), SequenceTensor).time_mean()
        return backward(model, logits, labels, weight)


class BPTTSingleStep(BaseMethod):
    """Single-step BPTT: the loop over time is outside the network, batch norm sees each step's own B samples."""

    name = "bptt_s"

    def _step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor) -> StepOutput:
        state = StepState(self.timesteps)
        by_step = []
        for images_t in images_by_step(images, self.timesteps):
            state.next_pass()
            by_step.append(carried(model(StepTensor(images_t, state, through_time=True)), StepTensor).values())
        state.check_complete()
        logits = full(torch.stack(by_step)).mean(0)
        return backward(model, logits, labels, weight)
