"""AutoAugment of a whole batch at once, on the device: one sub-policy drawn for each image.

The two steps of the sub-policies are done one after the other. In each of them all images are sampled and their values
looked up in tables, by which those that have drawn something else do not change; then some of them are blended: a few
kernels, whatever was drawn. Nearest-neighbour sampling and black filling are torchvision's.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.data.augment import tables
from rbp_engine.data.augment.policy import CIFAR10_POLICY, SIGNED, Choices, Step, draw_choices, magnitude
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.shares import Share

# What red, green and blue add to the grey value.
_GREY: Final = (0.2989, 0.587, 0.114)
# 13 times what a pixel exceeds its smoothed value by, a 3×3 mean in which the centre counts five times.
_EDGES: Final = ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1))
_NOTHING: Final = ("nothing", 0.0)
_TOLD_APART: Final = ("equalize", "contrast", "sharpness")


class AutoAugment:
    """AutoAugment for batches of images uint8 [B, 3, height, width] on `device`.

    It has tables of what the policy can do, with a row for each step in each direction, and a last one for no step.
    """

    def __init__(
        self, height: int, width: int, device: torch.device, policy: Sequence[tuple[Step, Step]] = CIFAR10_POLICY
    ) -> None:
        self.device = device
        self.policy = policy
        steps = [
            (name, magnitude(name, level, height, width) * (sign if name in SIGNED else 1))
            for steps in policy
            for (name, _, level), sign in product(steps, (1, -1))
        ]
        steps.append(_NOTHING)
        names = [name for name, _ in steps]
        self.by_own_values = torch.tensor([name in ("equalize", "autocontrast") for name in names])
        self.by_blend = torch.tensor([name in ("contrast", "color", "sharpness") for name in names])
        self.is_a = {kind: torch.tensor([name == kind for name in names], device=device) for kind in _TOLD_APART}
        self.sources = torch.stack([tables.sources(*step, height, width) for step in steps]).to(device)
        self.values = torch.stack([tables.values(*step) for step in steps]).to(device)
        self.blends = torch.tensor([tables.blend(*step) for step in steps], dtype=torch.float64).float().to(device)
        self.levels = torch.arange(256.0, device=device)
        self.edges = (torch.tensor(_EDGES, device=device) / 13).repeat(3, 1, 1, 1)
        self.half = torch.full((3,), 0.5, device=device)
        self.one = torch.ones((), device=device)
        self.grey = torch.tensor(_GREY, device=device).view(3, 1, 1)

    def __call__(self, images: Tensor, generator: torch.Generator, share: Share) -> Tensor:
        """Apply its own sub-policy to each of the images; returns a new tensor.

        The images are the `share` of a batch, and choices are drawn for the whole batch. The host must know them: a
        generator on the CPU avoids waiting for the device.
        """
        return self.apply(images, draw_choices(share, generator, self.policy))

    def apply(self, images: Tensor, choices: Choices) -> Tensor:
        """Apply these choices, made on the CPU, to the images; returns a new tensor."""
        # The first step of each image, and the second: [2, B].
        steps = 4 * choices.policy + torch.tensor([[0], [2]]) + (choices.sign.t() < 0)
        for rows in torch.where(choices.applied.t(), steps, len(self.values) - 1):
            some = [which[rows].nonzero().squeeze(1) for which in (self.by_own_values, self.by_blend)]
            indices = moved(torch.cat([rows, *some]), self.device)
            images = self._step(images, *indices.split([len(rows), *map(len, some)]))
        return images

    def _step(self, images: Tensor, rows: Tensor, by_own_values: Tensor, by_blend: Tensor) -> Tensor:
        """`rows` [B] are those in the tables; the others are the places of some of the images."""
        pixels = F.pad(images.flatten(2), (0, 1))  # with a black one
        levels = pixels.gather(2, self.sources[rows].unsqueeze(1).expand(-1, 3, -1)).long()
        values = self.values[rows].unsqueeze(1).repeat(1, 3, 1)
        values.index_copy_(0, by_own_values, self._tables(levels[by_own_values], rows[by_own_values]))
        changed = values.gather(2, levels).clamp_(0, 255).to(torch.uint8).view_as(images)
        return changed.index_copy_(0, by_blend, self._blended(changed[by_blend], rows[by_blend]))

    def _tables(self, levels: Tensor, rows: Tensor) -> Tensor:
        """What equalize and autocontrast make of each value of a channel, [N, 3, 256].

        As Pillow does, equalize spreads all pixels but those of the largest value that occurs over 255 levels.
        """
        equalize = self.is_a["equalize"][rows].view(-1, 1, 1)
        least, most = _extremes(levels)
        # How many pixels have a smaller value, and how many of them there are to a level.
        counts = torch.zeros(len(levels), 3, 257, device=self.device)
        counts[..., 1:].scatter_add_(2, levels, self.one.expand_as(levels)).scatter_(2, most, 0.0)
        counts.cumsum_(2)
        to_a_level = torch.div(counts[..., 256:], 255, rounding_mode="floor")
        # How far a value is from the least, and what share of the levels is used.
        above, used = self.levels - least, (most - least) * (1 / 255)
        spread = torch.where(equalize, to_a_level, used)
        quotients = torch.addcdiv(0.5 * equalize, torch.where(equalize, counts[..., :256], above), spread)
        return torch.where(spread == 0, self.levels, quotients)

    def _blended(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """What is kept of the pixels and, times a factor, what is added: edges, the grey image or its mean.

        With this order of rounding, results that should be whole grey levels equal torchvision's.
        """
        contrast, sharpness = (self.is_a[kind][rows].view(-1, 1, 1, 1) for kind in ("contrast", "sharpness"))
        red, green, blue = (pixels * self.grey).split(1, 1)
        grey = torch.floor(red + green + blue)
        # Rounded. A thirteenth of a whole number is never near the middle of two, however the sum was rounded.
        edges = F.conv2d(pixels.float(), self.edges, self.half, groups=3).floor_()
        around = F.pad(edges, [1] * 4)  # the outermost pixels stay
        added = torch.where(sharpness, around, torch.where(contrast, grey.mean((1, 2, 3), keepdim=True), grey))
        kept, factor = self.blends[rows].view(-1, 2, 1, 1, 1).unbind(1)
        return torch.addcmul(pixels * kept, added, factor).clamp_(0, 255).to(torch.uint8)


def _extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest of the values [N, 3, P], each [N, 3, 1]."""
    if values.device.type == "cpu":  # there aminmax takes several times as long as both
        return values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    least, largest = values.aminmax(dim=2, keepdim=True)
    return least, largest
