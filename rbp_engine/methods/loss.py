"""The loss of a training step, of the mean output over time or of the output at every timestep; and its objective.

An `Objective` is what a step minimises: a loss with the labels of the batch filled in, as a function of outputs alone.
A share of it may be the distance to the outputs of a trained network (knowledge distillation, Hinton et al., 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.errors import OwnCodeError
from rbp_engine.spiking import Carrier
from rbp_engine.spiking.dtypes import full
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
            classes = logits.shape[1]
            targets = F.one_hot(labels, classes) if labels.ndim == 1 else labels
            smoothed = targets.to(logits.dtype) * (1.0 - self.label_smoothing) + self.label_smoothing / classes
            return F.mse_loss(logits, smoothed)
        entropy = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if not self.mse_weight:
            return entropy
        distance = F.mse_loss(logits, torch.full_like(logits, self.mse_target))
        return (1.0 - self.mse_weight) * entropy + self.mse_weight * distance


class OwnLoss:
    """A loss given as a function `f(logits, labels)` that returns a scalar, the mean over the batch.

    `logits` are the time mean [B, C], in float32 at least; with `sltt` and `ottt` those of one timestep. `labels` are
    classes [B], or the probabilities of classes [B, C] for mixed images. Calling it raises OwnCodeError for a result
    that is not a floating-point scalar with a graph back to the logits. That it is finite is checked the first time
    only, because it waits for the device; later steps of a run detect it anyway.
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
    """The problem with a result; "" if there is none."""
    if not isinstance(value, Tensor):
        return f"returned {type(value).__name__}: it must return a tensor of no dimensions"
    if value.ndim:
        return f"returned the shape {list(value.shape)}: it must be one number, the mean over the batch (.mean())"
    if not value.is_floating_point():
        return f"returned {value.dtype}: it must be floating point"
    if logits.requires_grad and not value.requires_grad:
        return "has no gradient: compute it from the logits with torch alone, without .detach(), .item() or argmax"
    return ""


CROSS_ENTROPY = Loss()
# What an objective takes.
StepLoss = Loss | OwnLoss


C = TypeVar("C", bound=Carrier)


@dataclass(frozen=True)
class Distillation:
    """A teacher whose outputs p count for the share w = `weight` of the loss, at the temperature τ:

        (1 − w)·L(o, y) + w·τ²·KL( softmax(p / τ) ‖ softmax(o / τ) )        the mean over the batch

    `teacher` maps the images of a step to logits [B, C]. It runs without a graph, on the images as they are, augmented
    and mixed. Raises ValueError for a weight or temperature out of range.
    """

    teacher: Callable[[Tensor], Tensor]
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"the weight of a teacher is above 0 and at most 1, got {self.weight}")
        if not 0.0 < self.temperature < float("inf"):
            raise ValueError(f"the temperature is above 0, got {self.temperature}")

    def targets(self, images: Tensor) -> Tensor:
        """The teacher's log-probabilities [B, C] of a batch."""
        with torch.no_grad():
            return softened(self.teacher(images), self.temperature)

    def mixed(self, loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss with the teacher's share, for logits and targets of the same shape [B, C]."""
        if logits.shape != targets.shape:
            raise ValueError(
                f"the teacher gives {list(targets.shape)} logits for outputs {list(logits.shape)}: it must have the "
                "same classes"
            )
        distance = softened_distance(logits, targets, self.temperature).mean()
        return (1.0 - self.weight) * loss + self.weight * distance


def softened(logits: Tensor, temperature: float) -> Tensor:
    """The log-probabilities [B, C] at the temperature τ, log softmax(o / τ), in float32 at least."""
    return F.log_softmax(full(logits) / temperature, 1)


def softened_distance(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """τ²·KL( targets ‖ softmax(o / τ) ) of each sample, [B], for the log-probabilities `targets` [B, C] at τ.

    KL alone has a gradient that falls by 1/τ² as τ grows; with τ² a weight means the same at every τ.
    """
    own = softened(logits, temperature)
    return temperature**2 * F.kl_div(own, targets.to(own.dtype), reduction="none", log_target=True).sum(1)


# Maps an objective, its reported value and its logits [B, …] to what is minimised in its place.
Extension = Callable[["Objective", Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """The loss of a batch with the share of a teacher, whose log-probabilities [B, C] are the `targets`."""

    loss: StepLoss
    labels: Tensor
    distill: Distillation | None = None
    targets: Tensor | None = None
    extension: Extension | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """The objective for logits [B, C], of the time mean or of one timestep."""
        loss = self.loss(logits, self.labels)
        if self.distill is None or self.targets is None:
            return loss
        return self.distill.mixed(loss, logits, self.targets)

    def of_steps(self, logits: Tensor) -> Tensor:
        """The mean over t of the objective for the logits of each timestep [T, B, C], as of a batch of T·B samples."""
        steps = len(logits)
        labels = self.labels.repeat(steps, *[1] * (self.labels.ndim - 1))
        targets = None if self.targets is None else self.targets.repeat(steps, 1)
        return replace(self, labels=labels, targets=targets)(logits.flatten(0, 1))


@dataclass(frozen=True)
class Extended:
    """A network's output in training, with an extension of the objective."""

    output: Any
    extension: Extension


def with_objective(output: Any, carrier: type[C], objective: Objective) -> tuple[C, Objective]:
    """The network's output in training, and the objective for it. Raises TypeError as `logits_of` does."""
    if isinstance(output, Extended):
        objective, output = replace(objective, extension=output.extension), output.output
    return logits_of(output, carrier), objective


def logits_of(output: Any, carrier: type[C]) -> C:
    """What the network returned; TypeError unless it is a carrier like the one that was fed in."""
    if not isinstance(output, carrier):
        raise TypeError(
            f"the network returned {type(output).__name__}; it must return the logits of its last layer alone, without "
            "those of auxiliary classifiers (aux_logits=False)"
        )
    return output
