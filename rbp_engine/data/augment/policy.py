"""The policy of AutoAugment: which operations, how strong, how likely; and the draws for a batch.

Cubuk et al., 2019 (arXiv 1805.09501), CIFAR-10 policy. Magnitudes are torchvision's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from rbp_engine.data.loading.shares import Share

Step = tuple[str, float, int]

# Sub-policies of two steps, applied one after the other: operation, probability, level of 0 to 9.
CIFAR10_POLICY: Final[tuple[tuple[Step, Step], ...]] = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
#: Operations with a direction, which is drawn.
SIGNED: Final = frozenset(
    {"brightness", "color", "contrast", "sharpness", "rotate", "shear_y", "translate_x", "translate_y"}
)


@dataclass(frozen=True)
class Choices:
    """The draws for each image: its sub-policy [B], and for its two steps [B, 2] whether and in which direction."""

    policy: Tensor
    applied: Tensor
    sign: Tensor


def draw_choices(
    share: Share, generator: torch.Generator, policy: Sequence[tuple[Step, Step]] = CIFAR10_POLICY
) -> Choices:
    """The choices for a share of a batch, on the CPU; they are drawn for the whole batch."""
    device, count, places = generator.device, share.total, share.places
    drawn = torch.randint(len(policy), (count,), generator=generator, device=device).cpu()[places]
    chance = torch.rand(count, 2, generator=generator, device=device).cpu()[places]
    sign = 1.0 - 2.0 * torch.randint(2, (count, 2), generator=generator, device=device).cpu()[places]
    probability = torch.tensor([[step[1] for step in steps] for steps in policy])
    return Choices(drawn, chance < probability[drawn], sign)


def magnitude(name: str, level: int, height: int, width: int) -> float:
    """The magnitude of a level from 0 to 9 for an operation on images of height × width pixels.

    Degrees for a rotation, pixels for a translation, bits kept by a posterization, the threshold of a solarization, a
    slope for a shear; for the others how far the factor is from 1.
    """
    if name == "posterize":
        return 8 - round(level * 4 / 9)
    if name == "solarize":
        return 255 * (9 - level) / 9
    largest = {"rotate": 30.0, "shear_y": 0.3, "translate_x": 150 / 331 * width, "translate_y": 150 / 331 * height}
    return largest.get(name, 0.9) * level / 9
