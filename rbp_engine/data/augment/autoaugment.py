"""AutoAugment of a whole batch at once, on the device: one sub-policy drawn for each image.

Nearest-neighbour sampling and black filling are torchvision's.
"""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from rbp_engine.data.augment.policy import CIFAR10_POLICY, draw_choices, magnitude
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.shares import Share


def autoaugment_batched(images: Tensor, generator: torch.Generator, share: Share | None = None) -> Tensor:
    """Apply its own sub-policy to each of the images, uint8 [B, 3, H, W]; returns a new tensor.

    The images may be the `share` of a larger batch: then choices are drawn for the whole batch. The images are grouped
    by operation, and the host must know the groups: a generator on the CPU avoids waiting for the device.
    """
    images = images.clone()
    height, width = images.shape[-2:]
    share = share or Share.whole(len(images))
    choices = draw_choices(share.total, generator).of(share)
    for place in range(2):
        names = [steps[place][0] for steps in CIFAR10_POLICY]
        magnitudes = torch.tensor(
            [magnitude(name, level, height, width) for name, _, level in (steps[place] for steps in CIFAR10_POLICY)],
            dtype=torch.float64,
        )[choices.policy]
        for name, operation in OPERATIONS.items():
            of_name = torch.tensor([other == name for other in names])
            index = (of_name[choices.policy] & choices.applied[:, place]).nonzero().squeeze(1)
            if len(index):
                amount = magnitudes[index] * choices.sign[index, place] if name in SIGNED else magnitudes[index]
                index = moved(index, images.device)
                images[index] = operation(images[index], moved(amount, images.device))
    return images


# The operations take images uint8 [B, C, H, W] and a magnitude for each [B], and return the same shape and type.


def invert(images: Tensor, amount: Tensor) -> Tensor:
    """The negative; the magnitude is not used."""
    return 255 - images


def posterize(images: Tensor, amount: Tensor) -> Tensor:
    """Keep the `amount` highest bits."""
    return images & (256 - (1 << (8 - _each(amount).int()))).to(torch.uint8)


def solarize(images: Tensor, amount: Tensor) -> Tensor:
    """Invert the pixels that are not below the threshold `amount`."""
    return torch.where(images >= _each(amount), 255 - images, images)


def autocontrast(images: Tensor, amount: Tensor) -> Tensor:
    """Stretch each channel to 0…255; a constant channel stays. The magnitude is not used."""
    values = images.float()
    lowest, highest = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    flat = lowest == highest
    stretched = (values - lowest) / ((highest - lowest) * (1 / 255)).masked_fill(flat, 1.0)
    return torch.where(flat, images, stretched.clamp(0, 255).to(torch.uint8))


def equalize(images: Tensor, amount: Tensor) -> Tensor:
    """Equalize the histogram of each channel as Pillow does; the magnitude is not used."""
    values = images.flatten(2).flatten(0, 1).long()
    counts = torch.zeros(len(values), 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    below = counts.cumsum(1) - counts
    # All pixels but those of the largest value that occurs, spread over 255 steps.
    width = below.gather(1, values.amax(1, keepdim=True)) // 255
    table = ((below + width // 2) // width.clamp(min=1)).clamp(max=255)
    equalized = torch.where(width == 0, values, table.gather(1, values))
    return equalized.to(torch.uint8).view_as(images)


def brightness(images: Tensor, amount: Tensor) -> Tensor:
    """Away from black by the factor 1 + amount."""
    return _away_from(torch.zeros((), device=images.device), images, amount)


def color(images: Tensor, amount: Tensor) -> Tensor:
    """Away from its grey image by the factor 1 + amount."""
    return _away_from(_grey(images), images, amount)


def contrast(images: Tensor, amount: Tensor) -> Tensor:
    """Away from its mean grey by the factor 1 + amount."""
    return _away_from(_grey(images).mean((-3, -2, -1), keepdim=True), images, amount)


def sharpness(images: Tensor, amount: Tensor) -> Tensor:
    """Away from its smoothed image by the factor 1 + amount; the outermost pixels stay."""
    values = images.float()
    rows = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = values[..., 1:-1, 1:-1]
    # A 3×3 mean in which the centre counts five times.
    smooth = ((box + 4 * inner) / 13).round()
    sharp = torch.addcmul(inner, inner - smooth, _each(amount).float()).clamp(0, 255)
    sharpened = images.clone()
    sharpened[..., 1:-1, 1:-1] = sharp.to(torch.uint8)
    return sharpened


def rotate(images: Tensor, amount: Tensor) -> Tensor:
    """Turn counter-clockwise about the centre by `amount` degrees."""
    angle = amount.double().view(-1, 1, 1) * (math.pi / 180)
    cosine, sine = angle.cos().float(), angle.sin().float()
    return _affine(images, xx=cosine, xy=-sine, yx=sine, yy=cosine)


def shear_y(images: Tensor, amount: Tensor) -> Tensor:
    """Move each column up by `amount` times its distance from the left edge."""
    slope = amount.float().view(-1, 1, 1)
    return _affine(images, yx=slope, y0=slope * (images.shape[-1] / 2))


def translate_x(images: Tensor, amount: Tensor) -> Tensor:
    """Move right by `amount` pixels, its fraction cut off."""
    return _affine(images, x0=-amount.trunc().view(-1, 1, 1))


def translate_y(images: Tensor, amount: Tensor) -> Tensor:
    """Move down by `amount` pixels, its fraction cut off."""
    return _affine(images, y0=-amount.trunc().view(-1, 1, 1))


OPERATIONS: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    operation.__name__: operation
    for operation in (
        *(invert, posterize, solarize, autocontrast, equalize),
        *(brightness, color, contrast, sharpness),
        *(rotate, shear_y, translate_x, translate_y),
    )
}
SIGNED: Final = frozenset(OPERATIONS) - {"invert", "posterize", "solarize", "autocontrast", "equalize"}


def _each(amount: Tensor) -> Tensor:
    return amount.view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.float().unbind(-3)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor().unsqueeze(-3)


def _away_from(origin: Tensor, images: Tensor, amount: Tensor) -> Tensor:
    # With this order of rounding, results that should be whole grey levels equal torchvision's.
    kept = (1 + _each(amount).double()).float()
    return torch.addcmul(images * kept, origin, -_each(amount).float()).clamp(0, 255).to(torch.uint8)


def _affine(
    images: Tensor,
    *,
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    x0: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    y0: Tensor | float = 0.0,
) -> Tensor:
    """Take pixel (x, y) from the one nearest to (xx·x + xy·y + x0, yx·x + yy·y + y0), black outside the image.

    Coordinates count pixels from the centre of the image, x to the right and y down; numbers per image are [B, 1, 1].
    """
    batch, channels, height, width = images.shape
    x = (torch.arange(width, device=images.device) - (width - 1) / 2).view(1, 1, -1)
    y = (torch.arange(height, device=images.device) - (height - 1) / 2).view(1, -1, 1)
    column = (xx * x + xy * y + x0 + (width - 1) / 2).round().long().expand(batch, height, width)
    row = (yx * x + yy * y + y0 + (height - 1) / 2).round().long().expand(batch, height, width)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    source = (row * width + column).masked_fill(~inside, 0).view(batch, 1, -1).expand(-1, channels, -1)
    moved = images.flatten(2).gather(2, source).view_as(images)
    return moved.masked_fill(~inside.unsqueeze(1), 0)
