"""Augmentation of a whole batch at once, on the device, with a given generator.

Images are the share of a larger batch, or all of it: numbers are drawn for the whole batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rbp_engine.data.loading.shares import Share


def random_crop(images: Tensor, padding: int, generator: torch.Generator, share: Share) -> Tensor:
    """Each image [B, C, H, W] shifted by up to `padding` pixels and filled with zeros."""
    batch, channels, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    shifts = torch.randint(0, 2 * padding + 1, (2, share.total, 1), generator=generator, device=images.device)
    down, right = shifts[:, share.places]
    rows = down + torch.arange(height, device=images.device)
    columns = right + torch.arange(width, device=images.device)
    sample = torch.arange(batch, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return padded[sample, channel, rows.view(batch, 1, height, 1), columns.view(batch, 1, 1, width)]


def random_flip(images: Tensor, generator: torch.Generator, share: Share) -> Tensor:
    """Each image [B, C, H, W] mirrored left to right with probability one half."""
    flipped = torch.rand(share.total, 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(flipped[share.places], images.flip(-1), images)


def cutout(images: Tensor, side: int, generator: torch.Generator, share: Share) -> Tensor:
    """Set one square of `side` pixels in each image [B, C, H, W] to zero; its centre is anywhere in the image.

    DeVries and Taylor, 2017: a square near the edge is clipped. Zero is the mean of normalised images.
    """
    batch, _, height, width = images.shape
    device = images.device
    top = torch.randint(0, height, (share.total, 1), generator=generator, device=device)[share.places] - side // 2
    left = torch.randint(0, width, (share.total, 1), generator=generator, device=device)[share.places] - side // 2
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    hole = in_rows.view(batch, 1, height, 1) & in_columns.view(batch, 1, 1, width)
    return images.masked_fill(hole, 0.0)
