"""AutoAugment of a whole batch at once, on the device: one sub-policy drawn for each image.

The two steps of the sub-policies are done one after the other. For each of them the images are sorted by what is done
to them, so that a kind of operations is a slice of the batch and a few kernels, whatever was drawn. Nearest-neighbour
sampling and black filling are torchvision's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from itertools import product
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.data.augment import tables
from rbp_engine.data.augment.policy import CIFAR10_POLICY, SIGNED, Choices, Step, draw_choices, magnitude
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.shares import Share


class Kind(IntEnum):
    """What is done together with others of its kind, in the order of the slices."""

    AFFINE = 0
    EQUALIZE = auto()
    AUTOCONTRAST = auto()
    POINTWISE = auto()
    CONTRAST = auto()
    COLOR = auto()
    SHARPNESS = auto()
    NOTHING = auto()


OPERATIONS: Final = (
    dict.fromkeys(tables.AFFINE, Kind.AFFINE)
    | dict.fromkeys(tables.POINTWISE, Kind.POINTWISE)
    | {"equalize": Kind.EQUALIZE, "autocontrast": Kind.AUTOCONTRAST}
    | {"contrast": Kind.CONTRAST, "color": Kind.COLOR, "sharpness": Kind.SHARPNESS}
)
# What red, green and blue add to the grey value.
_GREY: Final = (0.2989, 0.587, 0.114)
# 13 times what a pixel exceeds its smoothed value by, a 3×3 mean in which the centre counts five times.
_EDGES: Final = ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1))


@dataclass(frozen=True)
class _Sorted:
    """One step for the images of a batch, sorted by kind.

    `ends` are the ends of the kinds' slices. `rows` [B] is the row of an image in the table of its kind,
    `coefficients` [2, B, 3] what its channels are multiplied with: what is kept of them, and what they add to the grey
    value. `factors` [B] are those of `tables.blend`.
    """

    ends: Sequence[int]
    rows: Tensor
    coefficients: Tensor
    factors: Tensor

    def places(self, first: Kind, last: Kind | None = None) -> slice:
        """Where the images of a kind are, or of those from `first` to `last`."""
        return slice(self.ends[first - 1] if first else 0, self.ends[first if last is None else last])

    def count(self, first: Kind, last: Kind | None = None) -> int:
        """How many they are."""
        places = self.places(first, last)
        return int(places.stop - places.start)


class AutoAugment:
    """AutoAugment for batches of images uint8 [B, 3, height, width] on `device`.

    It has tables of what the policy can do, with a row for each step in each direction.
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
        affine = [step for step in steps if step[0] in tables.AFFINE]
        pointwise = [step for step in steps if step[0] in tables.POINTWISE]
        self.kinds = torch.tensor([*(OPERATIONS[name] for name, _ in steps), Kind.NOTHING])
        self.rows = torch.zeros(len(self.kinds), dtype=torch.int64)
        for kind, of_kind in ((Kind.AFFINE, affine), (Kind.POINTWISE, pointwise)):
            self.rows[self.kinds == kind] = torch.arange(len(of_kind))
        # Without such a step, one row that is not used.
        self.sources = torch.stack(
            [tables.sources(*step, height, width) for step in affine or [("translate_x", 0.0)]]
        ).to(device)
        values = torch.stack([tables.values(*step) for step in pointwise or [("invert", 0.0)]])
        self.values = values.unsqueeze(1).repeat(1, 3, 1).to(device)
        blends = torch.tensor([*(tables.blend(*step) for step in steps), (1.0, 0.0)], dtype=torch.float64)
        kept, self.factors = blends.float().unbind(1)
        self.coefficients = torch.stack([kept.unsqueeze(1).expand(-1, 3), torch.tensor(_GREY).expand(len(kept), 3)])
        self.levels = torch.arange(256.0, device=device)
        self.edges = (torch.tensor(_EDGES, device=device) / 13).repeat(3, 1, 1, 1)
        self.half = torch.full((3,), 0.5, device=device)
        self.black = torch.zeros((), dtype=torch.uint8, device=device)
        self.one = torch.ones((), device=device)

    def __call__(self, images: Tensor, generator: torch.Generator, share: Share) -> Tensor:
        """Apply its own sub-policy to each of the images; returns a new tensor.

        The images are the `share` of a batch, and choices are drawn for the whole batch. The host must know the kinds:
        a generator on the CPU avoids waiting for the device.
        """
        return self.apply(images, draw_choices(share, generator, self.policy))

    def apply(self, images: Tensor, choices: Choices) -> Tensor:
        """Apply these choices, made on the CPU, to the images; returns a new tensor."""
        batch = len(images)
        # The first step of each image, and the second: [2, B].
        steps = 4 * choices.policy + torch.tensor([[0], [2]]) + (choices.sign.t() < 0)
        steps = torch.where(choices.applied.t(), steps, len(self.kinds) - 1)
        kinds = self.kinds[steps]
        orders = kinds.argsort(stable=True)
        steps = steps.gather(1, orders)
        places = orders.argsort()
        ends = [of_step.bincount(minlength=len(Kind)).cumsum(0).tolist() for of_step in kinds]
        # In two copies: from the order of the batch to that of the first step, to that of the second, and back.
        indices = torch.stack([orders[0], places[0, orders[1]], places[1], *self.rows[steps]])
        numbers = torch.cat([self.coefficients[:, steps].transpose(0, 1).flatten(), self.factors[steps].flatten()])
        *indexed, back, first_rows, second_rows = moved(indices, self.device)
        numbers = moved(numbers, self.device)
        coefficients, factors = numbers[: 12 * batch].view(2, 2, batch, 3), numbers[12 * batch :].view(2, batch)
        sorted_steps = [
            _Sorted(*step) for step in zip(ends, (first_rows, second_rows), coefficients, factors, strict=True)
        ]
        sizes = [step.count(Kind.EQUALIZE, Kind.AUTOCONTRAST) * 3 * 257 for step in sorted_steps]
        sizes += [step.count(Kind.CONTRAST, Kind.SHARPNESS) * images.shape[1:].numel() for step in sorted_steps]
        zeros = torch.zeros(sum(sizes), device=self.device).split(sizes)
        for index, step, counts, added in zip(indexed, sorted_steps, zeros[:2], zeros[2:], strict=True):
            images = images.index_select(0, index)
            self._step(images, step, counts.view(-1, 3, 257), added.view(-1, *images.shape[1:]))
        return images.index_select(0, back)

    def _step(self, images: Tensor, step: _Sorted, counts: Tensor, added: Tensor) -> None:
        """Change the sorted images in place; `counts` and `added` are zero, with room for the tables and the blends."""
        self._affine(images, step)
        changed = images[step.places(Kind.EQUALIZE, Kind.SHARPNESS)]
        results = torch.empty(changed.shape, device=self.device)
        by_table = step.count(Kind.EQUALIZE, Kind.POINTWISE)
        self._by_table(images, step, counts, results[:by_table])
        self._blend(images, step, added, results[by_table:])
        changed.copy_(results.clamp_(0, 255))

    def _affine(self, images: Tensor, step: _Sorted) -> None:
        places = step.places(Kind.AFFINE)
        pixels = images[places].flatten(2)
        with_black = torch.cat([pixels, self.black.expand(*pixels.shape[:2], 1)], 2)
        sources = self.sources.index_select(0, step.rows[places]).unsqueeze(1).expand(-1, 3, -1)
        torch.gather(with_black, 2, sources, out=pixels)

    def _by_table(self, images: Tensor, step: _Sorted, counts: Tensor, out: Tensor) -> None:
        """Write what becomes of each value of a channel; equalize and autocontrast have a table for each channel.

        As Pillow does, equalize spreads all pixels but those of the largest value that occurs over 255 levels.
        """
        equalized = step.count(Kind.EQUALIZE)
        levels = images[step.places(Kind.EQUALIZE, Kind.POINTWISE)].flatten(2).long()
        least, most = _extremes(levels[: len(counts)])
        spread = counts.new_empty(len(counts), 3, 1)
        # How many pixels have a smaller value, and how many of them there are to a level.
        counted = counts[:equalized, :, 1:]
        counted.scatter_add_(2, levels[:equalized], self.one.expand_as(levels[:equalized]))
        counted.scatter_(2, most[:equalized], 0.0)
        counts[:equalized].cumsum_(2)
        torch.div(counts[:equalized, :, 256:], 255, rounding_mode="floor", out=spread[:equalized])
        # How far a value is from the least, and what share of the levels is used.
        torch.sub(self.levels, least[equalized:], out=counts[equalized:, :, :256])
        torch.mul(most[equalized:] - least[equalized:], 1 / 255, out=spread[equalized:])
        places = step.places(Kind.EQUALIZE, Kind.AUTOCONTRAST)
        quotients = torch.addcdiv(step.factors[places].view(-1, 1, 1), counts[..., :256], spread)
        table = counts.new_empty(len(levels), 3, 256)
        torch.where(spread == 0, self.levels, quotients, out=table[: len(counts)])
        torch.index_select(self.values, 0, step.rows[step.places(Kind.POINTWISE)], out=table[len(counts) :])
        torch.gather(table, 2, levels, out=out.flatten(2))

    def _blend(self, images: Tensor, step: _Sorted, added: Tensor, out: Tensor) -> None:
        """Write what is kept of the images and, times its factor, what is added; sharpness leaves the outermost pixels.

        With this order of rounding, results that should be whole grey levels equal torchvision's.
        """
        places = step.places(Kind.CONTRAST, Kind.SHARPNESS)
        contrasted, greyed = step.count(Kind.CONTRAST), step.count(Kind.CONTRAST, Kind.COLOR)
        products = out.new_empty(2, *out.shape)
        torch.mul(images[places], step.coefficients[:, places, :, None, None], out=products)
        kept, parts = products
        red, green, blue = parts[:greyed].unbind(1)
        torch.floor((red + green + blue).unsqueeze(1).expand(-1, 3, -1, -1), out=added[:greyed])
        added[:contrasted] = added[:contrasted, :1].mean((1, 2, 3), keepdim=True)
        # Rounded. A thirteenth of a whole number is never near the middle of two, however the sum was rounded.
        edges = F.conv2d(kept[greyed:], self.edges, self.half, groups=3)
        torch.floor(edges, out=added[greyed:, :, 1:-1, 1:-1])
        torch.addcmul(kept, added, step.factors[places].view(-1, 1, 1, 1), out=out)


def _extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest of the values [N, 3, P], each [N, 3, 1]."""
    if values.device.type == "cpu":  # there aminmax takes several times as long as both
        return values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    least, largest = values.aminmax(dim=2, keepdim=True)
    return least, largest
