"""Backpropagation through time, and the online methods.

    bptt    the graph of all T timesteps at once, the exact surrogate gradient
    bptt_s  the same, with the loop over time outside the network
    sltt    spatial learning through time (Meng et al., ICCV 2023): the membrane carries no gradient through time
    ottt    online training through time (Xiao et al., NeurIPS 2022): the same, but a weight's gradient is formed with
            the trace a_t = λ·a_{t−1} + s_t of the spikes that it received

The online methods, sltt and ottt, propagate the loss of each timestep back at once, in space only. They minimise the
mean over t of the loss of o_t, which is CE(o_t, y) by default. The gradients of all timesteps are added up; the weights
change after the last one. The loss that is reported is that of every method, CE(mean_t o_t, y) by default, so that
curves can be compared.
"""

from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn

from rbp_engine.methods.inputs import Input
from rbp_engine.methods.loss import (
    CROSS_ENTROPY,
    Distillation,
    LossFunction,
    Objective,
    StepLoss,
    logits_of,
    with_objective,
)
from rbp_engine.methods.protocol import Method, Precision, StepOutput, backward, gradients_stay_local
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.carriers.single_step import StepState, StepTensor, TraceTensor
from rbp_engine.spiking.dtypes import full
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
        images = SequenceReference(shown.steps()) if self.reference else SequenceTensor(shown.current())
        output, objective = with_objective(model(images), type(images), objective)
        logits = output.steps() if objective.loss.at_every_step else output.time_mean()
        return backward(objective, logits, weight)


class BPTTSingleStep(Method):
    """Single-step BPTT: the loop over time is outside the network, batch norm sees each step's own B samples."""

    name = "bptt_s"

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        state = StepState(self.timesteps)
        by_step = []
        for images_t in shown.by_step():
            state.next_pass()
            output = model(StepTensor(images_t, state, through_time=True))
            by_step.append(logits_of(output, StepTensor).values())
        state.check_complete()
        logits = full(torch.stack(by_step))
        return backward(objective, logits if objective.loss.at_every_step else logits.mean(0), weight)


class SLTT(Method):
    """Memory of one timestep's graph, whatever T."""

    name = "sltt"
    carrier: ClassVar[type[StepTensor]] = StepTensor

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        state = StepState(self.timesteps)
        by_step = []
        for step, images_t in enumerate(shown.by_step(), start=1):
            state.next_pass()
            with gradients_stay_local(model) if step < self.timesteps else nullcontext():
                output = model(self.carrier(images_t, state, through_time=False))
                out = logits_of(output, self.carrier).values()
                (objective(out) * weight / self.timesteps).backward()
            by_step.append(full(out.detach()))
        state.check_complete()
        outputs = torch.stack(by_step)
        logits = outputs.mean(0)
        loss = objective.of_steps(outputs) if objective.loss.at_every_step else objective(logits)
        return StepOutput(loss, logits)


class OTTT(SLTT):
    """SLTT with traces; without batch norm between a neuron and its weights, as its paper assumes."""

    name = "ottt"
    carrier = TraceTensor
