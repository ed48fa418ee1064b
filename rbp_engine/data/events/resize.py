"""Resize frames [T, 2, 128, 128] to a smaller side: correctly, and as the published code does it."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

# The published code reads bytes back as numbers in [0, 1].
LEGACY_SCALE: Final = 1 / 255


def exact(frames: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Frames [..., H, W] resized to [..., size, size] float32 (bilinear, antialiased), each channel separately."""
    counts = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
    if counts.shape[-1] == size:
        return counts.numpy()
    return F.interpolate(counts, (size, size), mode="bilinear", antialias=True).numpy()


def legacy_pil(frames: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Frames [T, 2, H, W] as the published code resizes them: [T, 2, size, size] uint8, to be scaled by LEGACY_SCALE.

    It treats each frame as an image of luminance and alpha. A count becomes the byte 255·count modulo 256, and
    resizing weights channel 0 by channel 1: where channel 1 is empty, channel 0 is lost.
    """
    from PIL import Image

    pixels = ((frames * 255).astype(np.int64) % 256).astype(np.uint8)
    resized = [
        Image.merge("LA", [Image.fromarray(np.ascontiguousarray(channel)) for channel in frame]).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        for frame in pixels
    ]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in resized])
