"""Batches of images in memory: their order and augmentation are functions of seed, epoch and position alone.

A resume in the middle of an epoch needs no saved state, and nothing is drawn from torch's global generator.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.augment import augmentation
from rbp_engine.data.augment.autoaugment import AutoAugment
from rbp_engine.data.loading.shares import Batches, Share, evaluation_plan
from rbp_engine.data.splits import Images


class NormalisePixels:
    """uint8 pixels [B, C, H, W] to float32: scaled to [0, 1], then (x − mean) / deviation per channel."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], device: torch.device) -> None:
        means = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        deviations = torch.tensor(deviation, device=device).view(1, -1, 1, 1)
        self.scale = 1.0 / (255.0 * deviations)
        self.shift = -means / deviations

    def __call__(self, pixels: Tensor) -> Tensor:
        return torch.addcmul(self.shift, pixels.float(), self.scale)


class TrainBatches:
    """Shuffled, augmented batches of (images float32 [B, C, H, W], labels [B]).

    `batch_size` counts images over all processes: process `rank` of `world_size` gets its share of each batch.
    """

    def __init__(
        self,
        images: Images,
        normalise: NormalisePixels,
        *,
        batch_size: int,
        seed: int,
        crop_padding: int = 0,
        flip: bool = False,
        auto_augment: bool = False,
        cutout: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images = images
        self.normalise = normalise
        self.batches = Batches(len(images), batch_size, drop_last, rank, world_size)
        self.seed = seed
        self.crop_padding = crop_padding
        self.flip = flip
        height, width = images.pixels.shape[-2:]
        self.auto_augment = AutoAugment(height, width, images.pixels.device) if auto_augment else None
        self.cutout = cutout

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Images of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, from position `start` on."""
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(_mix(self.seed, epoch, 0)))
        order = order.to(self.images.labels.device)
        generator = torch.Generator(self.images.labels.device)
        for position in range(start, len(self)):
            index = order[self.batches.places(position)]
            seed = _mix(self.seed, epoch, 1 + position)
            images = self._augment(
                self.images.pixels[index], generator.manual_seed(seed), seed, self.batches.share(position)
            )
            yield images, self.images.labels[index]

    def _augment(self, pixels: Tensor, generator: torch.Generator, seed: int, share: Share) -> Tensor:
        if self.crop_padding:
            pixels = augmentation.random_crop(pixels, self.crop_padding, generator, share)
        if self.flip:
            pixels = augmentation.random_flip(pixels, generator, share)
        if self.auto_augment:
            # It groups images by operation on the host, so it draws there.
            pixels = self.auto_augment(pixels, torch.Generator().manual_seed(_mix(seed, 1)), share)
        images = self.normalise(pixels)
        return augmentation.cutout(images, self.cutout, generator, share) if self.cutout else images


class EvaluationBatches:
    """All images in order, each exactly once; process `rank` of `world_size` gets a contiguous share of them.

    `split` is "test" or "held-out"; `batch_size` counts images over all processes.
    """

    def __init__(
        self,
        images: Images,
        normalise: NormalisePixels,
        *,
        batch_size: int,
        split: str = "test",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.split = split
        self.images = images
        self.normalise = normalise
        self.plan = evaluation_plan(len(images), batch_size, rank, world_size)

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in self.plan:
            yield self.normalise(self.images.pixels[index]), self.images.labels[index]


def _mix(*parts: int) -> int:
    """A seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
