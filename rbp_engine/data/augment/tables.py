"""What the operations of AutoAugment do to any image, as tables: where pixels come from, and what becomes of values.

torchvision's operations fill them, from an image of its pixels' numbers and from all values. By the tables of what
an operation does not do, nothing changes.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

# By an amount; what comes from outside of the image is `fill`.
_MOVES: Final[dict[str, Callable[[Tensor, float, list[float]], Tensor]]] = {
    "rotate": lambda image, amount, fill: functional.rotate(image, amount, fill=fill),
    "shear_y": lambda image, amount, fill: functional.affine(
        image, 0.0, [0, 0], 1.0, [0.0, math.degrees(math.atan(amount))], center=[0, 0], fill=fill
    ),
    "translate_x": lambda image, amount, fill: functional.affine(
        image, 0.0, [int(amount), 0], 1.0, [0.0, 0.0], fill=fill
    ),
    "translate_y": lambda image, amount, fill: functional.affine(
        image, 0.0, [0, int(amount)], 1.0, [0.0, 0.0], fill=fill
    ),
}
_CHANGES: Final[dict[str, Callable[[Tensor, float], Tensor]]] = {
    "invert": lambda values, amount: functional.invert(values),
    "posterize": lambda values, amount: functional.posterize(values, int(amount)),
    "solarize": functional.solarize,
    "brightness": lambda values, amount: functional.adjust_brightness(values, 1 + amount),
}


def sources(name: str, amount: float, height: int, width: int) -> Tensor:
    """The number of the pixel that each pixel is taken from, int64 [height · width].

    It is height · width where that is outside of the image. Pixels are counted by rows.
    """
    numbers = torch.arange(float(height * width)).view(1, height, width)
    moved = _MOVES[name](numbers, amount, [height * width]) if name in _MOVES else numbers
    return moved.flatten().long()


def values(name: str, amount: float) -> Tensor:
    """What becomes of each value of a pixel, float32 [256]."""
    old = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    changed = _CHANGES[name](old, amount) if name in _CHANGES else old
    return changed[0, 0].float()


def blend(name: str, amount: float) -> tuple[float, float]:
    """What is kept of the pixels, and the factor of what is added to them.

    That is the grey image or its mean, from which colours and contrast lead away; or the difference from the smoothed
    image, for sharpness.
    """
    if name == "sharpness":
        return 1.0, amount
    return (1 + amount, -amount) if name in ("color", "contrast") else (1.0, 0.0)
