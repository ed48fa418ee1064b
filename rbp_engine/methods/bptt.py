"""Backpropagation through time, multi-step: the graph of all T timesteps (the exact surrogate gradient)."""

from torch import Tensor, nn

from rbp_engine.methods.protocol import StepOutput, as_sequence, carried, cross_entropy, predict
from rbp_engine.spiking import SequenceTensor


class BPTT:
    """Multi-step BPTT: cost and memory of the backward grow with T."""

    name = "bptt"

    def __init__(self, timesteps: int) -> None:
        self.timesteps = timesteps

    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> StepOutput:
        logits = carried(model(as_sequence(images, self.timesteps)), SequenceTensor).time_mean()
        loss = cross_entropy(logits, labels)
        loss.backward()
        return StepOutput(loss.detach(), logits.detach())

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        return predict(model, images, timesteps or self.timesteps)
