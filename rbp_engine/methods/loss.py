"""The loss of a training step: of the mean output over time, or of the output at every timestep."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.errors import OwnCodeError
from rbp_engine.vocabulary import LossName

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """What a training step minimises, from outputs o_t and labels y; the mean over the batch.

        ce     CE(mean_t o_t, y)
        mse    MSE(mean_t o_t, y as one-hot), the mean over the classes too
        tet    mean_t [ (1 − w)·CE(o_t, y) + w·MSE(o_t, φ) ]    temporal efficient training (Deng et al., ICLR 2022)

    w is `mse_weight`, φ `mse_target`, in the paper the threshold. `label_smoothing` ε makes y (1 − ε)·y + ε/C, with C
    classes. Labels are [B] or the probabilities of classes, [B, C]. Raises ValueError for a setting out of range.
    """

    name: LossName = "ce"
    label_smoothing: float = 0.0
    mse_weight: float = 0.0
    mse_target: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in get_args(LossName):
            raise ValueError(f"unknown loss {self.name!r}: one of {', '.join(get_args(LossName))}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is from 0 to less than 1, got {self.label_smoothing}")
        if not 0.0 <= self.mse_weight <= 1.0:
            raise ValueError(f"mse_weight is from 0 to 1, got {self.mse_weight}")
        if self.mse_weight and self.name != "tet":
            raise ValueError(f"mse_weight is for the loss 'tet', and this is {self.name!r}")

    @property
    def at_every_step(self) -> bool:
        """Whether it is a mean over timesteps, and not a loss of the mean output."""
        return self.name == "tet"

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of outputs [B, C], of the time mean or of one timestep; in float32 at least."""
        logits = full(logits)
        labels = labels if labels.ndim == 1 else labels.to(logits.dtype)
        if self.name == "mse":
            return F.mse_loss(logits, self._targets(logits, labels))
        entropy = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if not self.mse_weight:
            return entropy
        distance = F.mse_loss(logits, torch.full_like(logits, self.mse_target))
        return (1.0 - self.mse_weight) * entropy + self.mse_weight * distance

    def _targets(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        targets = F.one_hot(labels, classes) if labels.ndim == 1 else labels
        return targets.to(logits.dtype) * (1.0 - self.label_smoothing) + self.label_smoothing / classes


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


def full(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


CROSS_ENTROPY = Loss()
# What an objective takes.
StepLoss = Loss | OwnLoss
