"""An exponential moving average of a network's weights, kept beside them and evaluated in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rbp_engine.train.statistics import Joined, Statistics


class MovingAverage:
    """a ← a + (1 − d)·(w − a) after every optimizer step, from the initial weights on.

    d is `decay`, and in the first steps min(decay, (1 + n) / (10 + n)) at step n, so that the initial weights are soon
    forgotten. Parameters are averaged, and so are floating-point buffers: the running statistics of batch norm then
    belong to the averaged weights. Other buffers are those of the network. It computes on the device, without waiting
    for it. Of several ranks all average alike; their statistics differ until `Ranks.share_buffers`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 < decay < 1.0:
            raise ValueError(f"the decay of a moving average is between 0 and 1, got {decay}")
        self.decay = decay
        self._weights = [weight.detach() for weight in model.parameters() if weight.is_floating_point()]
        self._statistics = Statistics(buffer for buffer in model.buffers() if buffer.is_floating_point())
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Start again from what the network has now."""
        self._average_weights = [weight.clone() for weight in self._weights]
        self._average_statistics = self._statistics.joined()

    @torch.no_grad()
    def update(self, step: int, skipped: Tensor) -> None:
        """Average the weights of optimizer step `step`, counted from 1.

        `skipped`, on the device, is true from the first step whose gradients were not finite. From then on the averages
        stay: the weights are still those of the step before, and running statistics may be NaN.
        """
        rate = 1.0 - min(self.decay, (1 + step) / (10 + step))
        if self._weights:
            moved = torch._foreach_sub(self._weights, self._average_weights)
            torch._foreach_mul_(moved, rate * ~skipped)
            torch._foreach_add_(self._average_weights, moved)
        for kind, now in self._statistics.joined().items():
            average = self._average_statistics[kind]
            self._average_statistics[kind] = torch.where(skipped, average, average.lerp(now, rate))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the network has the averages; afterwards its own numbers again, to the last bit."""
        own = [weight.clone() for weight in self._weights]
        statistics = self._statistics.joined()
        self._put(self._average_weights, self._average_statistics)
        try:
            yield
        finally:
            self._put(own, statistics)

    @torch.no_grad()
    def _put(self, weights: list[Tensor], statistics: Joined) -> None:
        torch._foreach_copy_(self._weights, weights)
        self._statistics.put(statistics)
