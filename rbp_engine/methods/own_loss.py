"""A loss of the user's own: a function of the mean logits and the labels, checked where it is called."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from rbp_engine.errors import OwnCodeError
from rbp_engine.methods.loss import full

LossFunction = Callable[[Tensor, Tensor], Tensor]


class OwnLoss:
    """A loss given as a function `f(logits, labels)` that returns a scalar, the mean over the batch.

    `logits` are the time mean [B, C], in float32 at least; with `sltt` and `ottt` those of one timestep. `labels` are
    classes [B], or the probabilities of classes [B, C] for mixed images. Calling it raises OwnCodeError for a result
    that is not a floating-point scalar with a graph back to the logits. That it is finite is checked the first time
    only, because it waits for the device; later steps of a run find it by themselves.
    """

    at_every_step = False

    def __init__(self, function: LossFunction, name: str = "") -> None:
        """`name` is that in messages, by default the function's own. Raises TypeError for what cannot be called."""
        if not callable(function):
            raise TypeError(f"a loss is a Loss or a function of logits and labels, got {type(function).__name__}")
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._known_finite = False

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = full(logits)
        value = self.function(logits, labels)
        if problem := _problem(value, logits):
            raise OwnCodeError(f"the loss {self.name} {problem}")
        if not self._known_finite:
            if not math.isfinite(first := float(value.detach())):
                raise OwnCodeError(f"the loss {self.name} is {first} for the first batch that it was given")
            self._known_finite = True
        return value


def _problem(value: Any, logits: Tensor) -> str:
    """What is wrong with a result; "" if nothing is."""
    if not isinstance(value, Tensor):
        return f"returned {type(value).__name__}: it must return a tensor of no dimensions"
    if value.ndim:
        return f"returned the shape {list(value.shape)}: it must be one number, the mean over the batch (.mean())"
    if not value.is_floating_point():
        return f"returned {value.dtype}: it must be floating point"
    if logits.requires_grad and not value.requires_grad:
        return "has no gradient: compute it from the logits with torch alone, without .detach(), .item() or argmax"
    return ""
