"""Batches of images in memory: their order and augmentation are functions of seed, epoch and position alone.

Nothing has to be saved to go on in the middle of an epoch, and nothing is drawn from torch's global generator.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data import augmentation
from rbp_engine.data.autoaugment import autoaugment_batched
from rbp_engine.data.splits import Images


class Normalise:
    """uint8 pixels [B, C, H, W] to float32: scaled to [0, 1], then (x − mean) / deviation per channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], device: torch.device) -> None:
        means = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        deviations = torch.tensor(deviation, device=device).view(1, -1, 1, 1)
        self.scale = 1.0 / (255.0 * deviations)
        self.shift = -means / deviations

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.addcmul(self.shift, pixels.float(), self.scale)


class TrainBatches:
    """Shuffled, augmented batches of (images float32 [B, C, H, W], labels [B])."""

    def __init__(
        self,
        images: Images,
        normalise: Normalise,
        *,
        batch_size: int,
        seed: int,
        crop_padding: int = 0,
        flip: bool = False,
        auto_augment: bool = False,
        cutout: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.crop_padding = crop_padding
        self.flip = flip
        self.auto_augment = auto_augment
        self.cutout = cutout
        count = len(images)
        self.batches = count // batch_size if drop_last else -(-count // batch_size)
        if self.batches == 0:
            raise ValueError(f"data.batch_size = {batch_size} is more than the {count} training images (drop_last)")

    def __len__(self) -> int:
        return self.batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, from the one at position `start` on."""
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(_mix(self.seed, epoch, 0)))
        order = order.to(self.images.labels.device)
        generator = torch.Generator(self.images.labels.device)
        for position in range(start, self.batches):
            index = order[position * self.batch_size : (position + 1) * self.batch_size]
            seed = _mix(self.seed, epoch, 1 + position)
            yield self._augment(self.images.pixels[index], generator.manual_seed(seed), seed), self.images.labels[index]

    def _augment(self, pixels: Tensor, generator: torch.Generator, seed: int) -> Tensor:
        if self.crop_padding:
            pixels = augmentation.random_crop(pixels, self.crop_padding, generator)
        if self.flip:
            pixels = augmentation.random_flip(pixels, generator)
        if self.auto_augment:
            # It groups images by operation on the host, so its draws belong there.
            pixels = autoaugment_batched(pixels, torch.Generator().manual_seed(_mix(seed, 1)))
        images = self.normalise(pixels)
        return augmentation.cutout(images, self.cutout, generator) if self.cutout else images


class EvaluationBatches:
    """All images in order, none twice, none left out; `split` says which they are, "test" or "held-out"."""

    def __init__(self, images: Images, normalise: Normalise, *, batch_size: int, split: str = "test") -> None:
        self.split = split
        self.images = images
        self.normalise = normalise
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.images), self.batch_size):
            index = slice(start, start + self.batch_size)
            yield self.normalise(self.images.pixels[index]), self.images.labels[index]


def _mix(*parts: int) -> int:
    """A seed from several numbers; neighbours give unrelated ones."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
