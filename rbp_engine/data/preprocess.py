"""From raw samples, as a data set has them, to the input of a network. Files of weights carry this along."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

MOST_CHANNELS: Final = 10_000
# The limits are those of a file of weights, which anybody may have made.
_Positive: TypeAlias = Annotated[float, Meta(gt=0)]


class NormalisePixels:
    """uint8 pixels [B, C, H, W] to float32: scaled to [0, 1], then (x − mean) / deviation per channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], device: torch.device) -> None:
        means = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        deviations = torch.tensor(deviation, device=device).view(1, -1, 1, 1)
        self.scale = 1.0 / (255.0 * deviations)
        self.shift = -means / deviations

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.addcmul(self.shift, pixels.float(), self.scale)


@dataclass(frozen=True)
class Pixels:
    """Images: normalised by the `mean` and `deviation` of each channel, of pixels scaled to [0, 1].

    `crop` is the side in pixels of the centre that is cut out of image files, 0 for a set whose images have one size.
    """

    has_time: ClassVar[bool] = False

    mean: tuple[float, ...]
    deviation: tuple[_Positive, ...]
    crop: Annotated[int, Meta(ge=0, le=4096)] = 0

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that belong to no channels."""
        if not 0 < len(self.mean) == len(self.deviation) <= MOST_CHANNELS:
            raise ValueError("mean and deviation belong to the channels")

    @property
    def channels(self) -> int:
        return len(self.mean)

    def raw(self, images: Any) -> Tensor:
        """Images as a tensor [B, C, H, W]: uint8 of 0 to 255, or floating point of 0 to 1.

        They come as such a tensor or array, or as PIL images, one or a list, which are converted to the right channels
        and, if the run read image files, resized and cropped as in its evaluation. Raises ValueError for anything else.
        """
        if hasattr(images, "convert"):
            images = [images]
        if isinstance(images, (list, tuple)):
            images = torch.stack([self._from_pil(image) for image in images]) if images else torch.empty(0)
        pixels = torch.as_tensor(images)
        if pixels.ndim != 4 or pixels.shape[1] != self.channels:
            raise ValueError(
                f"expected images [B, C, H, W] of {_channels(self.channels)}, got the shape {list(pixels.shape)}"
                f"{_hint(pixels, self.channels)}"
            )
        if pixels.dtype == torch.uint8:
            return pixels
        if not pixels.is_floating_point():
            raise ValueError(f"expected pixels as uint8 of 0 to 255 or as floats of 0 to 1, got {pixels.dtype}")
        least, most = (float(end) for end in pixels.aminmax()) if pixels.numel() else (0.0, 0.0)
        if not 0.0 <= least <= most <= 1.0:
            raise ValueError(
                f"expected raw pixels, as floats of 0 to 1, got {least:.3g} to {most:.3g}: scale them, or give uint8; "
                "images that are normalised already go to method.predict(model, images)"
            )
        return pixels

    def __call__(self, images: Any) -> Tensor:
        """The network's input, float32 [B, C, H, W], on the device of the images. Raises ValueError as `raw` does."""
        pixels = self.raw(images)
        pixels = pixels if pixels.dtype == torch.uint8 else pixels * 255
        return NormalisePixels(self.mean, self.deviation, pixels.device)(pixels)

    def _from_pil(self, image: Any) -> Tensor:
        if not hasattr(image, "convert"):
            raise ValueError(
                f"a list holds PIL images, not {type(image).__name__}: stack tensors into one [B, C, H, W]"
            )
        pixels = np.array(image.convert("L" if self.channels == 1 else "RGB"))
        raw = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
        if not self.crop:
            return raw
        # torchvision takes seconds to import.
        from rbp_engine.data.readers.image_files import centre

        return centre(raw, self.crop)


@dataclass(frozen=True)
class Frames:
    """Frames of events or of a sequence, one for each timestep: multiplied by `scale`."""

    has_time: ClassVar[bool] = True

    channels: Annotated[int, Meta(ge=1, le=MOST_CHANNELS)]
    scale: _Positive = 1.0

    def raw(self, frames: Any) -> Tensor:
        """Frames as a tensor [T, B, C, H, W] of counts. Raises ValueError for another shape."""
        counts = torch.as_tensor(frames)
        if counts.ndim != 5 or counts.shape[2] != self.channels:
            raise ValueError(
                f"expected frames [T, B, C, H, W] of {_channels(self.channels)}, got the shape {list(counts.shape)}"
            )
        return counts

    def __call__(self, frames: Any) -> Tensor:
        """The network's input, float32 [T, B, C, H, W], on the device of the frames. Raises ValueError as `raw`."""
        counts = self.raw(frames).float()
        return counts if self.scale == 1.0 else counts * self.scale


Preprocess = Pixels | Frames


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"


def _hint(images: Tensor, channels: int) -> str:
    if images.ndim == 4 and images.shape[3] == channels:
        return ": the channels come before the pixels, images.permute(0, 3, 1, 2)"
    if images.ndim == 3 and images.shape[0] == channels and channels > 1:
        return ": a single image is a batch of one, images[None]"
    if images.ndim == 3 and channels == 1:
        return ": insert the channel, images[:, None]"
    return ""
