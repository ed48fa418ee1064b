"""What every training method has: an input, a training step and a prediction; and how batch norms count batches."""

import os
import sys
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, wraps
from numbers import Integral
from threading import RLock
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.parallel import DataParallel, DistributedDataParallel

from rbp_engine.cores import let_threads_sleep
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
from rbp_engine.spiking.convert.spikingjelly_map import why_not_trained
from rbp_engine.spiking.fusion import full


@dataclass(frozen=True)
class Input:
    """`images` are [B, …], shown at each of T timesteps, if `static`, else [T, B, …]."""

    images: Tensor
    timesteps: int
    static: bool

    def sequence(self) -> SequenceTensor:
        """All timesteps; static images stay one image."""
        return SequenceTensor(self.images, self.timesteps, self.static)

    def by_step(self) -> list[Tensor]:
        """The images [B, …] of each timestep."""
        return [self.images] * self.timesteps if self.static else list(self.images.unbind(0))

    def steps(self) -> Tensor:
        """The images of all timesteps, [T, B, …]."""
        return self.images.expand(self.timesteps, *self.images.shape) if self.static else self.images

    def mean(self) -> Tensor:
        """The mean over time, [B, …]."""
        return self.images if self.static else self.images.mean(0)


def is_static(images: Tensor, time: bool | None = None) -> bool:
    """Whether images are the same at every timestep.

    `time` says whether their first dimension is time; None reads it off the number of dimensions: [B, N] and
    [B, C, H, W] have none, [T, B, C, H, W] has.
    """
    return images.ndim < 5 if time is None else not time


def check_images(images: Tensor, timesteps: int, time: bool | None = None) -> None:
    """Raise TypeError unless `images` is a floating-point tensor.

    Raise ValueError unless it has the dimensions that `time` says (as for `is_static`), this T if it has time, and
    holds an image.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a tensor, got {type(images).__name__}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point, got {images.dtype}; divide uint8 by 255: images.float() / 255")
    shape = list(images.shape)
    if time is None and images.ndim not in (2, 4, 5):
        raise ValueError(
            f"images are [B, C, H, W], [T, B, C, H, W] or [B, N], got the shape {shape}; of another number of "
            "dimensions say whether the first one is time: time=True for [T, B, …], time=False for [B, …]"
        )
    if time is not None and images.ndim < 2 + time:
        wanted = "[T, B, …]" if time else "[B, …]"
        raise ValueError(f"with time={time} images are {wanted}, with features behind the batch, got the shape {shape}")
    if not is_static(images, time) and len(images) != timesteps:
        remedy = "" if time else "; time=False reads them as [B, …]"
        raise ValueError(
            f"the input has {len(images)} timesteps, the method {timesteps}: images {shape} are read as "
            f"{'[T, B, …]' if time else '[T, B, C, H, W]'}{remedy}"
        )
    if not images.numel():
        raise ValueError(f"the batch is empty: images {shape}")


P = ParamSpec("P")
R = TypeVar("R")

Precision = Literal["fp32", "bf16", "fp16"]
_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
# A load of the last minute, by core: what a script itself has used before its first step is less.
_BUSY = 0.5


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
    from an input in the right type to the gradients of the objective.
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
        # The model that it has met, in training or in evaluation.
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
        [B], or [B, C] with the probabilities of classes. The gradients are multiplied by `weight`, the part of a larger
        batch that this one is, and a scale against underflow; the output is not.
        Images are floating point, and are taken to `precision`, or in "fp32" to the type of the network's weights.
        torch.compile of the model and torch.autocast around the step change nothing.
        Raises ValueError where the input's T is another, and TypeError where images are integers or the network has
        neurons of SpikingJelly.
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
        """Look at a model that the method meets: raise for what it cannot train, and warn of what does nothing."""
        check_neurons(model)
        warn_of_silent_hooks(model)

    @abstractmethod
    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        """Add the gradients of the objective, multiplied by `weight`, of an input in the right type."""

    @_never_compiled
    def predict(
        self, model: nn.Module, images: Tensor, timesteps: int | None = None, *, time: bool | None = None
    ) -> Tensor:
        """Logits at every timestep, [T, B, C], in evaluation mode and without a graph; `images` as of a step."""
        steps = self.timesteps if timesteps is None else timesteps
        return predict(model, images, steps, self.precision, time=time)


def check_timesteps(timesteps: Any) -> None:
    """Raise TypeError unless T is a whole number, ValueError unless it is at least 1."""
    if not isinstance(timesteps, Integral) or isinstance(timesteps, bool):
        raise TypeError(f"timesteps must be a whole number, got {timesteps!r}")
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, got {timesteps}")


def check_neurons(model: nn.Module) -> None:
    """Raise TypeError if the network has neurons of SpikingJelly, is one of its networks with T > 1, or would be split
    by torch.nn.DataParallel.
    """
    if any(isinstance(module, DataParallel) for module in model.modules()):
        raise TypeError(
            "torch.nn.DataParallel divides tensors among GPUs, and spikes over time are none: leave it out. For "
            "several GPUs start a process for each: use --nproc, or DistributedDataParallel in a script of your own"
        )
    if why := why_not_trained(model):
        raise TypeError(why)


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
    found = full(logits).detach()
    return StepOutput(value.detach(), found.mean(0) if objective.loss.at_every_step else found)


def gradients_stay_local(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, a backward pass adds to the gradients of this process only; a later pass averages over processes."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


# One thread at a time runs a network: what a step or a prediction changes is seen by all.
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
    """Within it the model is in evaluation mode; then every module is in its own again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@cache
def warn_of_spinning_threads() -> None:
    """Warn, at the first step of a process, where its threads spin on a machine whose cores are busy."""
    load = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    if load > _BUSY and torch.get_num_threads() > 1 and not let_threads_sleep():
        warnings.warn(
            f"the cores are busy (load {load:.1f} a core in the last minute). Beside other programs a step takes "
            "several times as long, for torch was imported before rbp_engine, so its threads spin while they wait: "
            "import rbp_engine first, or set OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=1000",
            stacklevel=4,
        )


def warn_of_silent_hooks(model: nn.Module) -> None:
    """Warn of full backward hooks: torch calls them only for modules whose inputs are tensors."""
    named = model.named_modules()
    if hooked := [name or "the network" for name, x in named if x._backward_hooks or x._backward_pre_hooks]:
        warnings.warn(
            f"backward hooks never run in a step, because modules receive spikes over time and not tensors: "
            f"{', '.join(hooked)}. Hooks on parameters do (Tensor.register_hook)",
            stacklevel=5,
        )


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

    `time` is as of `is_static`.
    """
    check_timesteps(timesteps)
    check_images(images, timesteps, time)
    check_neurons(model)
    sequence = Input(converted(images, precision, model), timesteps, is_static(images, time)).sequence()
    with uncompiled_without_autocast(images.device), _evaluation(model):
        reset_state(model)
        logits = logits_of(model(sequence), SequenceTensor).steps()
    return full(logits)


@contextmanager
def batches_counted(model: nn.Module, times: int) -> Iterator[None]:
    """Within it each batch that a batch norm counts is so many: T in a pass of a reference, 0 where it is no batch."""
    counters = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    before = torch._foreach_add(counters, 0) if counters else ()
    try:
        yield
    finally:
        if counters:  # with few launches
            torch._foreach_sub_(counters, before)
            torch._foreach_mul_(counters, times)
            torch._foreach_add_(counters, before)
