"""The input of a step or a prediction: images, with time or without."""

from dataclasses import dataclass

from torch import Tensor

from rbp_engine.spiking.current import Current


@dataclass(frozen=True)
class Input:
    """`images` are [B, …], shown at each of T timesteps, if `static`, else [T, B, …]."""

    images: Tensor
    timesteps: int
    static: bool

    def current(self, grad_proxy: Tensor | None = None) -> Current:
        """All timesteps, as a carrier holds them; static images stay one image."""
        if self.static:
            return Current.constant(self.images, self.timesteps, grad_proxy)
        return Current.of(self.images, grad_proxy)

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
