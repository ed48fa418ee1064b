"""Batches of images in memory; nothing is drawn from torch's global generator."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.augment import augmentation
from rbp_engine.data.augment.autoaugment import AutoAugment
from rbp_engine.data.loading.batch_loader import Batch
from rbp_engine.data.loading.shares import Batches
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches, Wanted
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


def memory_training(
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
) -> TrainingBatches:
    """Shuffled, augmented batches of (images float32 [B, C, H, W], labels [B]).

    `batch_size` counts images over all processes: process `rank` of `world_size` gets its share of each batch.
    """
    device = images.labels.device
    generator, policy = torch.Generator(device), None
    if auto_augment:
        height, width = images.pixels.shape[-2:]
        policy = AutoAugment(height, width, device)

    def order(epoch: int) -> Tensor:
        drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(_mix(seed, epoch, 0)))
        return drawn.to(device)

    def finish(wanted: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
        mixed, share = _mix(seed, wanted.epoch, 1 + wanted.position), wanted.share
        generator.manual_seed(mixed)
        if crop_padding:
            pixels = augmentation.random_crop(pixels, crop_padding, generator, share)
        if flip:
            pixels = augmentation.random_flip(pixels, generator, share)
        if policy is not None:
            # It groups images by operation on the host, so it draws there.
            pixels = policy(pixels, torch.Generator().manual_seed(_mix(mixed, 1)), share)
        finished = normalise(pixels)
        return augmentation.cutout(finished, cutout, generator, share) if cutout else finished, labels

    def read(plan: Sequence[Wanted]) -> Iterator[Batch]:
        return ((images.pixels[wanted.indices], images.labels[wanted.indices]) for wanted in plan)

    return TrainingBatches(read, finish, order, Batches(len(images), batch_size, drop_last, rank, world_size))


def memory_evaluation(images: Images, normalise: NormalisePixels, **shares: Any) -> EvaluationBatches:
    """All images in order; the shares are those of `EvaluationBatches`."""

    def finish(_: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
        return normalise(pixels), labels

    def read(plan: Sequence[Wanted]) -> Iterator[Batch]:
        # By slices, which a card needs not wait for.
        places = (slice(wanted.first, wanted.first + len(wanted.indices)) for wanted in plan)
        return ((images.pixels[place], images.labels[place]) for place in places)

    return EvaluationBatches(read, finish, len(images), **shares)


def _mix(*parts: int) -> int:
    """A seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
