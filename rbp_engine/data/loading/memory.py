"""Images in memory; nothing is drawn from torch's global generator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.data.augment import augmentation
from rbp_engine.data.augment.autoaugment import AutoAugment
from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader
from rbp_engine.data.loading.shares import Batches, Cut
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches, Wanted
from rbp_engine.data.opening import Opening
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.splits import DataSplits, Images


@dataclass(frozen=True)
class MemorySource:
    """Images that are kept on `device`, normalised as `pixels` says, and augmented in batches there.

    With `by_pil` they are augmented one by one for training, by the processes of that loader.
    """

    images: Images
    pixels: Pixels
    device: torch.device
    crop_padding: int = 0
    flip: bool = False
    auto_augment: bool = False
    cutout: int = 0
    by_pil: BatchLoader | None = None

    @property
    def labels(self) -> Tensor:
        return self.images.labels

    def subset(self, index: NDArray[np.int64]) -> "MemorySource":
        return replace(self, images=self.images.subset(index))

    def training(self, cut: Cut) -> TrainingBatches:
        """Shuffled, augmented batches of (images float32 [B, C, H, W], labels [B])."""
        if self.by_pil is not None:
            return self._training_by_pil(cut, self.by_pil)
        images, normalise = self.images.to(self.device), self._normalise()
        generator, policy = torch.Generator(self.device), None
        if self.auto_augment:
            height, width = images.pixels.shape[-2:]
            policy = AutoAugment(height, width, self.device)

        def order(epoch: int) -> Tensor:
            drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(_mix(cut.seed, epoch, 0)))
            return drawn.to(self.device)

        def finish(wanted: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
            mixed, share = _mix(cut.seed, wanted.epoch, 1 + wanted.position), wanted.share
            generator.manual_seed(mixed)
            if self.crop_padding:
                pixels = augmentation.random_crop(pixels, self.crop_padding, generator, share)
            if self.flip:
                pixels = augmentation.random_flip(pixels, generator, share)
            if policy is not None:
                # It groups images by operation on the host, so it draws there.
                pixels = policy(pixels, torch.Generator().manual_seed(_mix(mixed, 1)), share)
            finished = normalise(pixels)
            return augmentation.cutout(finished, self.cutout, generator, share) if self.cutout else finished, labels

        def read(plan: Sequence[Wanted]) -> Iterator[Batch]:
            return ((images.pixels[wanted.indices], images.labels[wanted.indices]) for wanted in plan)

        return TrainingBatches(read, finish, order, Batches(len(images), cut))

    def _training_by_pil(self, cut: Cut, loader: BatchLoader) -> TrainingBatches:
        # torchvision takes seconds to import.
        from rbp_engine.data.augment.pil_augmentation import PilImages
        from rbp_engine.data.loading.one_by_one import OneByOne

        reader = PilImages(
            self.images,
            self.pixels,
            crop_padding=self.crop_padding,
            flip=self.flip,
            autoaugment=self.auto_augment,
            cutout=self.cutout,
        )
        return OneByOne(reader, np.arange(len(self.images)), lambda augmented: augmented, loader).training(cut)

    def evaluation(self, cut: Cut, split: str = "test") -> EvaluationBatches:
        """All images in order."""
        images, normalise = self.images.to(self.device), self._normalise()

        def finish(_: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
            return normalise(pixels), labels

        def read(plan: Sequence[Wanted]) -> Iterator[Batch]:
            # By slices, which a card needs not wait for.
            places = (slice(wanted.first, wanted.first + len(wanted.indices)) for wanted in plan)
            return ((images.pixels[place], images.labels[place]) for place in places)

        return EvaluationBatches(read, finish, len(images), cut, split)

    def _normalise(self) -> NormalisePixels:
        return NormalisePixels(self.pixels.mean, self.pixels.deviation, self.device)


def images_in_memory(splits: DataSplits, opening: Opening) -> Feed:
    """The batches of a run."""
    data, pixels = opening.data, Pixels(tuple(splits.mean), tuple(splits.deviation))
    loader = BatchLoader(opening.workers, opening.device) if data.augment_backend == "pil" else None
    augmented: Any = (data.crop_padding, data.flip, data.auto_augment, data.cutout, loader)
    train, test = (MemorySource(images, pixels, opening.device, *augmented) for images in (splits.train, splits.test))
    return Feed.of(train, test, opening, splits.classes, pixels, splits.class_names, loader)


def _mix(*parts: int) -> int:
    """A seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
