"""What the operations of AutoAugment do to any image, as tables: where pixels come from, and what becomes of values."""

import math
from typing import Final

import torch
from torch import Tensor

AFFINE: Final = ("rotate", "shear_y", "translate_x", "translate_y")
POINTWISE: Final = ("invert", "posterize", "solarize", "brightness")


def sources(name: str, amount: float, height: int, width: int) -> Tensor:
    """For an operation of AFFINE: the number of the pixel that each pixel is taken from, int64 [height · width].

    It is height · width where that is outside of the image. Pixels are counted by rows.
    """
    x, y = torch.arange(width) - (width - 1) / 2, (torch.arange(height) - (height - 1) / 2).unsqueeze(1)
    across, down = _origin(name, torch.tensor(amount, dtype=torch.float64), x, y, width)
    column = (across + (width - 1) / 2).round().long().expand(height, width)
    row = (down + (height - 1) / 2).round().long().expand(height, width)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    return (row * width + column).masked_fill(outside, height * width).flatten()


def _origin(name: str, amount: Tensor, x: Tensor, y: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Where pixels come from. Coordinates count pixels from the centre of the image, x to the right and y down."""
    if name == "rotate":  # counter-clockwise, about the centre
        angle = amount * (math.pi / 180)
        cosine, sine = angle.cos().float(), angle.sin().float()
        return cosine * x - sine * y, sine * x + cosine * y
    if name == "shear_y":  # each column up by `amount` times its distance from the left edge
        slope = amount.float()
        return x, slope * x + y + slope * (width / 2)
    if name == "translate_x":  # right, the fraction cut off
        return x - amount.trunc(), y
    return x, y - amount.trunc()


def values(name: str, amount: float) -> Tensor:
    """For an operation of POINTWISE: what becomes of each value of a pixel, float32 [256]."""
    old = torch.arange(256)
    if name == "invert":
        return 255.0 - old
    if name == "posterize":  # keep the `amount` highest bits
        return (old & (256 - (1 << (8 - int(amount))))).float()
    if name == "solarize":  # invert what is not below the threshold
        return torch.where(old >= amount, 255 - old, old).float()
    return (old * torch.tensor(1 + amount, dtype=torch.float64).float()).clamp(0, 255).floor()


def blend(name: str, amount: float) -> tuple[float, float]:
    """For the other operations: what is kept of the pixels, and the factor of what is added to them.

    That is the grey image or its mean, from which colours and contrast lead away; or the difference from the smoothed
    image, for sharpness. What equalize and autocontrast need is the term that rounds their tables.
    """
    if name in ("equalize", "autocontrast"):
        return 1.0, 0.5 if name == "equalize" else 0.0
    return (1.0, amount) if name == "sharpness" else (1 + amount, -amount)
