"""Rate-based backpropagation: T timesteps forward without a graph, one backward pass over firing rates."""

from typing import Literal

from torch import Tensor, nn

from rbp_engine.methods.protocol import StepOutput, as_sequence, carried, cross_entropy, predict
from rbp_engine.spiking import RateTensor


class RateM:
    """rate_M: the loop over time is inside each layer, batch norm sees all T·B samples (paper, section 4.2).

    `loss_scale` "1/T" divides the gradient by T, as the paper's objective does (Theorem 1: ∇_rate = ∇_BPTT / T), so
    that its learning rates keep their meaning; "1" gives the size of BPTT's gradient.
    """

    name = "rate_m"

    def __init__(self, timesteps: int, loss_scale: Literal["1/T", "1"] = "1/T") -> None:
        if loss_scale not in ("1/T", "1"):
            raise ValueError(f"loss_scale is '1/T' or '1', got {loss_scale!r}")
        self.timesteps = timesteps
        self.scale = 1.0 / timesteps if loss_scale == "1/T" else 1.0

    def step(self, model: nn.Module, images: Tensor, labels: Tensor) -> StepOutput:
        sequence = as_sequence(images, self.timesteps)
        logits = carried(model(RateTensor(sequence, sequence.time_mean())), RateTensor).rate
        loss = cross_entropy(logits, labels)
        (loss * self.scale).backward()
        return StepOutput(loss.detach(), logits.detach())

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        return predict(model, images, timesteps or self.timesteps)
