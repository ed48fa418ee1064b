"""Backpropagation through time: the graph of all T timesteps, the exact surrogate gradient."""

import torch
from torch import Tensor, nn

from rbp_engine.methods.loss import (
    CROSS_ENTROPY,
    Distillation,
    LossFunction,
    Objective,
    StepLoss,
    full,
    logits_of,
    with_objective,
)
from rbp_engine.methods.protocol import (
    BatchCounts,
    Input,
    Method,
    Precision,
    StepOutput,
    backward,
)
from rbp_engine.spiking.carriers.single_step import StepState, StepTensor
from rbp_engine.spiking.reference import SequenceReference


class BPTT(Method):
    """Multi-step BPTT: cost and memory of the backward grow with T.

    With `reference` a step is that of `spiking/reference.py`, the plain definition.
    """

    name = "bptt"

    def __init__(
        self,
        timesteps: int,
        precision: Precision = "fp32",
        loss: StepLoss | LossFunction = CROSS_ENTROPY,
        distill: Distillation | None = None,
        reference: bool = False,
    ) -> None:
        super().__init__(timesteps, precision, loss, distill)
        self.reference = reference

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        images = SequenceReference(shown.steps()) if self.reference else shown.sequence()
        output, objective = with_objective(model(images), type(images), objective)
        logits = output.steps() if objective.at_every_step else output.time_mean()
        return backward(objective, logits, weight)


class BPTTSingleStep(Method):
    """Single-step BPTT: the loop over time is outside the network, batch norm sees each step's own B samples."""

    name = "bptt_s"

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        state = StepState(self.timesteps)
        by_step = []
        with BatchCounts(model):
            for images_t in shown.by_step():
                state.next_pass()
                output = model(StepTensor(images_t, state, through_time=True))
                by_step.append(logits_of(output, StepTensor).values())
        state.check_complete()
        logits = full(torch.stack(by_step))
        return backward(objective, logits if objective.at_every_step else logits.mean(0), weight)
