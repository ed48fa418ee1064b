"""What every training method has: a training step and a prediction."""

import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from threading import RLock
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.parallel import DistributedDataParallel

from rbp_engine.methods.checks import check_neurons, check_timesteps, warn_of_silent_hooks, warn_of_spinning_threads
from rbp_engine.methods.inputs import Input, check_images, is_static
from rbp_engine.methods.loss import (
    CROSS_ENTROPY,
    Distillation,
    Loss,
    LossFunction,
    Objective,
    OwnLoss,
    StepLoss,
    logits_of,
)
from rbp_engine.spiking import SequenceTensor
from rbp_engine.spiking.dtypes import full

P = ParamSpec("P")
R = TypeVar("R")

Precision = Literal["fp32", "bf16", "fp16"]
_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepOutput:
    """`loss`: the mean over the batch, unscaled, a detached scalar. `logits`: [B, C], time mean, detached."""

    loss: Tensor
    logits: Tensor


def _never_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Keep torch.compile from compiling this call in a function that it compiles.

    The compiler is imported only if it is in use: its import takes as long as that of torch itself.
    """
    uncompiled = _disable_dynamo(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return (uncompiled if torch.compiler.is_compiling() else function)(*args, **kwargs)

    return call


class Method(ABC):
    """A way to get gradients for a spiking network over T timesteps.

    All methods share T, the precision, the loss, the checks before a step, and the prediction. Each implements `_step`,
    which computes the gradients of the objective for an input in the right type.
    """

    name: str

    def __init__(
        self,
        timesteps: int,
        precision: Precision = "fp32",
        loss: StepLoss | LossFunction = CROSS_ENTROPY,
        distill: Distillation | None = None,
    ) -> None:
        check_timesteps(timesteps)
        self.timesteps = timesteps
        self.precision: Precision = precision
        self.loss: StepLoss = loss if isinstance(loss, (Loss, OwnLoss)) else OwnLoss(loss)
        self.distill = distill
        # The model that was checked last, and whether it was in training mode.
        self._checked: tuple[weakref.ref[nn.Module], bool] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_checked": None}  # a weak reference is not pickled

    @_never_compiled
    def step(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        weight: float | Tensor = 1.0,
        *,
        time: bool | None = None,
    ) -> StepOutput:
        """Reset, run forward and backward, and add the gradients to `.grad`; nothing is zeroed, no weight changes.

        `images` is [B, C, H, W], or [B, N] for a network without convolutions, shown at every timestep; or
        [T, B, C, H, W]. `time` says of any shape whether the first dimension is time: [T, B, …] or [B, …]. `labels` is
        [B], or [B, C] with the probabilities of classes. The gradients are multiplied by `weight`, the share of this
        batch in a larger one and a scale against underflow; the output is not.
        Images are floating point, and are converted to `precision`, or in "fp32" to the type of the network's weights.
        torch.compile of the model and torch.autocast around the step change nothing.
        Raises ValueError if the input has another T, and TypeError if images are integers or the network has neurons
        of SpikingJelly.
        """
        check_images(images, self.timesteps, time)
        if self._checked is None or (self._checked[0](), self._checked[1]) != (model, model.training):
            self.check(model)
            if images.device.type == "cpu":
                warn_of_spinning_threads()
            self._checked = weakref.ref(model), model.training
        targets = None if self.distill is None else self.distill.targets(images)
        with uncompiled_without_autocast(images.device):
            reset_state(model)
            shown = Input(converted(images, self.precision, model), self.timesteps, is_static(images, time))
            return self._step(model, shown, Objective(self.loss, labels, self.distill, targets), weight)

    def check(self, model: nn.Module) -> None:
        """Check a model before its first step: raise for what cannot be trained, and warn of what has no effect."""
        check_neurons(model)
        warn_of_silent_hooks(model)

    @abstractmethod
    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        """Add the gradients of the objective, multiplied by `weight`, for an input in the right type."""

    @_never_compiled
    def predict(
        self, model: nn.Module, images: Tensor, timesteps: int | None = None, *, time: bool | None = None
    ) -> Tensor:
        """Logits at every timestep, [T, B, C], in evaluation mode and without a graph; `images` as for a step."""
        steps = self.timesteps if timesteps is None else timesteps
        return predict(model, images, steps, self.precision, time=time)


def converted(images: Tensor, precision: Precision, model: nn.Module) -> Tensor:
    """The images in the type that convolutions, linear layers and spikes then have.

    In "fp32" it is that of the network's weights, float32 at least. Membranes, statistics, weights and the loss have it
    in every precision.
    """
    if precision in _LOW:
        return images.to(_LOW[precision])
    weights = next((weight for weight in model.parameters() if weight.is_floating_point()), images)
    return full(images.to(weights.dtype))


def backward(objective: Objective, logits: Tensor, weight: float | Tensor) -> StepOutput:
    """Add the gradients of the objective, multiplied by `weight`.

    `logits` are, with their graph, the time mean [B, C], or for a loss at every step the sequence [T, B, C].
    """
    value = objective.of_steps(logits) if objective.loss.at_every_step else objective(logits)
    minimised = value if objective.extension is None else objective.extension(objective, value, logits)
    (minimised * weight).backward()
    detached = full(logits).detach()
    return StepOutput(value.detach(), detached.mean(0) if objective.loss.at_every_step else detached)


def gradients_stay_local(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, a backward pass adds to the gradients of this process only; a later pass averages over processes."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


# One thread at a time runs a network: what a step or a prediction changes is global.
_ONE_THREAD = RLock()


@contextmanager
def uncompiled_without_autocast(device: torch.device) -> Iterator[None]:
    """Run the network without autocast, since the method sets the precision, and not under torch.compile.

    Carriers keep state from operation to operation and change tensors in place. torch.compile loses track of that, and
    gradients would be wrong without an error. The neurons' own compiled kernels stay compiled.
    """
    with _ONE_THREAD, ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        # If anything is compiled it has been imported; the import takes seconds.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode; afterwards every module has its own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def reset_state(model: nn.Module) -> None:
    """Clear what modules keep from another batch: membranes of plain tensors, SpikingJelly's dropout masks."""
    for module in model.modules():
        if isinstance(module, MemoryModule):
            module.reset()


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    timesteps: int,
    precision: Precision = "fp32",
    time: bool | None = None,
) -> Tensor:
    """Logits at every timestep, [T, B, C], in evaluation mode; the mode of every module is put back.

    `time` is that of `is_static`.
    """
    check_timesteps(timesteps)
    check_images(images, timesteps, time)
    check_neurons(model)
    shown = Input(converted(images, precision, model), timesteps, is_static(images, time))
    with uncompiled_without_autocast(images.device), _evaluation(model):
        reset_state(model)
        logits = logits_of(model(SequenceTensor(shown.current())), SequenceTensor).steps()
    return full(logits)
