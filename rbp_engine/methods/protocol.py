"""What every training method offers: one step of training, and a prediction."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rbp_engine.spiking import Carrier, SequenceTensor

C = TypeVar("C", bound=Carrier)

Precision = Literal["fp32", "bf16", "fp16"]
_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepOutput:
    """`loss`: mean cross entropy over the batch, unscaled, a detached scalar. `logits`: [B, C], time mean, detached."""

    loss: Tensor
    logits: Tensor


class Method(Protocol):
    """A way to get gradients for a spiking network over T timesteps."""

    name: str
    timesteps: int
    precision: Precision

    def step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor = 1.0) -> StepOutput:
        """Reset, run forward and backward, and add the gradients to `.grad`; nothing is zeroed, no weight changes.

        `images` is [B, C, H, W], shown at every timestep, or [T, B, C, H, W]; `labels` is [B]. The gradients are
        multiplied by `weight`, the part of a larger batch that this one is, and a scale against underflow; the output
        is not.
        Raises ValueError where the input's T is another.
        """
        ...

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        """Logits at every timestep, [T, B, C], in evaluation mode and without a graph."""
        ...


class BaseMethod:
    """What all methods share: T, the precision, what comes before a step, and the prediction.

    A method says in `_step` what is between checked images [B, C, H, W] or [T, B, C, H, W] and the gradients.
    """

    def __init__(self, timesteps: int, precision: Precision = "fp32") -> None:
        self.timesteps = timesteps
        self.precision = precision

    def step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor = 1.0) -> StepOutput:
        images = lowered(images, self.precision)
        check_images(images, self.timesteps)
        reset_state(model)
        with uncompiled():
            return self._step(model, images, labels, weight)

    def _step(self, model: nn.Module, images: Tensor, labels: Tensor, weight: float | Tensor) -> StepOutput:
        raise NotImplementedError

    def predict(self, model: nn.Module, images: Tensor, timesteps: int | None = None) -> Tensor:
        return predict(model, lowered(images, self.precision), self.timesteps if timesteps is None else timesteps)


def check_images(images: Tensor, timesteps: int) -> None:
    """Raise ValueError unless `images` is [B, C, H, W], or [T, B, C, H, W] with this T."""
    if images.ndim not in (4, 5):
        raise ValueError(f"images are [B, C, H, W] or [T, B, C, H, W], got the shape {list(images.shape)}")
    if images.ndim == 5 and len(images) != timesteps:
        raise ValueError(
            f"the input has {len(images)} timesteps, the method {timesteps}: images {list(images.shape)} are read as "
            "[T, B, C, H, W]"
        )


def lowered(images: Tensor, precision: Precision) -> Tensor:
    """The images in the type that convolutions, linear layers and spikes then have.

    Membranes, statistics, weights and the loss stay in float32.
    """
    return images.to(_LOW[precision]) if precision in _LOW else images


def as_sequence(
    images: Tensor, timesteps: int, carrier: Callable[[Tensor, int, bool], SequenceTensor] = SequenceTensor
) -> SequenceTensor:
    """The images as the network's input; [B, C, H, W] stay one image that is the same at every step."""
    return carrier(images, timesteps, images.ndim == 4)


def images_by_step(images: Tensor, timesteps: int) -> list[Tensor]:
    """The images [B, C, H, W] of each timestep."""
    return [images] * timesteps if images.ndim == 4 else list(images.unbind(0))


def carried(output: Any, carrier: type[C]) -> C:
    """The network's output; TypeError unless it is the carrier that was fed in."""
    if not isinstance(output, carrier):
        raise TypeError(f"the network returned {type(output).__name__}; it must return the logits of its last layer")
    return output


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """L = CE(mean_t o_t, y), averaged over the batch; in float32 at least."""
    return F.cross_entropy(full(logits), labels)


def backward(logits: Tensor, labels: Tensor, weight: float | Tensor) -> StepOutput:
    """Add the gradients of the loss, multiplied by `weight`; `logits` are the time mean [B, C] with its graph."""
    loss = cross_entropy(logits, labels)
    (loss * weight).backward()
    return StepOutput(loss.detach(), full(logits).detach())


def full(logits: Tensor) -> Tensor:
    """In float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def gradients_stay_local(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, a backward pass only adds to this process's gradients: a later one averages them over processes."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def uncompiled() -> AbstractContextManager[None]:
    """Within it a model that is given to torch.compile runs as it is; the neurons' compiled kernels stay compiled.

    Carriers keep tensors on tapes and change them in place. torch.compile loses track of that, and gradients would be
    wrong in silence.
    """
    # What has been compiled has imported it, which takes seconds.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def reset_state(model: nn.Module) -> None:
    """Forget what modules remember from another batch: our neurons on plain tensors, SpikingJelly's dropout masks."""
    for module in model.modules():
        if isinstance(module, MemoryModule):
            module.reset()


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    timesteps: int,
    carrier: Callable[[Tensor, int, bool], SequenceTensor] = SequenceTensor,
) -> Tensor:
    """Logits at every timestep, [T, B, C], in evaluation mode; the mode of every module is put back.

    `carrier` makes the network's input of (images, T, whether they are the same at every step).
    """
    if timesteps < 1:
        raise ValueError(f"timesteps must be at least 1, got {timesteps}")
    check_images(images, timesteps)
    reset_state(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with uncompiled():
            logits = carried(model(as_sequence(images, timesteps, carrier)), SequenceTensor).steps()
    finally:
        for module, training in modes:
            module.training = training
    return full(logits)
