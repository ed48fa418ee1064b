"""Images in memory; nothing is drawn from torch's global generator."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.augment import augmentation
from rbp_engine.data.augment.autoaugment import AutoAugment
from rbp_engine.data.feed import DataSettings, Feed, Opening
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader, Read
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.source import Finish, Index, Source, Wanted
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.errors import SettingsError


@dataclass(frozen=True)
class MemorySource(Source):
    """Images that are kept on `device`, normalised as `pixels` says, and augmented in batches there as `data` says.

    With `by_pil` they are augmented one by one for training, by the processes of that loader.
    """

    images: Images
    pixels: Pixels
    device: torch.device
    data: DataSettings
    by_pil: BatchLoader | None = None

    @property
    def labels(self) -> Tensor:
        return self.images.labels

    @cached_property
    def on_device(self) -> Images:
        """The images, once for all batches of them."""
        return self.images.to(self.device)

    def order(self, index: Index, seed: int) -> Callable[[int], Index]:
        if self.by_pil is not None:
            return super().order(index, seed)

        def order(epoch: int) -> Index:
            generator = torch.Generator().manual_seed(_mix(seed, epoch, 0))
            drawn: Index = torch.randperm(len(index), generator=generator).numpy()
            return index[drawn]

        return order

    def reading(self, seed: int | None) -> tuple[Read, Finish]:
        if self.by_pil is not None and seed is not None:
            return self._by_pil(self.by_pil).reading(seed)
        data, policy = self.data, None
        generator, normalise = torch.Generator(self.device), self._normalise()
        if data.auto_augment and seed is not None:
            height, width = self.images.pixels.shape[-2:]
            policy = AutoAugment(height, width, self.device)

        def finish(wanted: Wanted, pixels: Tensor, labels: Tensor) -> Batch:
            if seed is None:
                return normalise(pixels), labels
            mixed, share = _mix(seed, wanted.epoch, 1 + wanted.position), wanted.share
            generator.manual_seed(mixed)
            if data.crop_padding:
                pixels = augmentation.random_crop(pixels, data.crop_padding, generator, share)
            if data.flip:
                pixels = augmentation.random_flip(pixels, generator, share)
            if policy is not None:
                # It groups images by operation on the host, so it draws there.
                pixels = policy(pixels, torch.Generator().manual_seed(_mix(mixed, 1)), share)
            finished = normalise(pixels)
            return augmentation.cutout(finished, data.cutout, generator, share) if data.cutout else finished, labels

        return self._read, finish

    def _read(self, plan: Sequence[Wanted]) -> Iterator[Batch]:
        images = self.on_device
        for places in (self._places(wanted.indices) for wanted in plan):
            yield images.pixels[places], images.labels[places]

    def _places(self, indices: Index) -> slice | Tensor:
        """Neighbours as a slice, which copies nothing and for which a card need not wait."""
        first = int(indices[0]) if len(indices) else 0
        if np.array_equal(indices, np.arange(first, first + len(indices))):
            return slice(first, first + len(indices))
        return moved(torch.from_numpy(indices), self.device)

    def _by_pil(self, loader: BatchLoader) -> Source:
        # torchvision takes seconds to import.
        from rbp_engine.data.augment.pil_augmentation import PilImages
        from rbp_engine.data.loading.one_by_one import OneByOne

        reader = PilImages(self.images.pixels, self.pixels, self.data)
        return OneByOne(reader, self.labels.numpy(), lambda augmented: augmented, loader)

    def _normalise(self) -> NormalisePixels:
        return NormalisePixels(self.pixels.mean, self.pixels.deviation, self.device)


def images_in_memory(splits: DataSplits, opening: Opening) -> Feed:
    """The batches of a run. Raises SettingsError for an augmentation that cannot take these images."""
    data, pixels = opening.data, Pixels(tuple(splits.mean), tuple(splits.deviation))
    by_pil, sides = data.augment_backend == "pil", (splits.train, splits.test)
    if data.auto_augment and splits.channels not in ((1, 3) if by_pil else (3,)):
        raise SettingsError(
            f"data.auto_augment is for images of 3 channels; those of {data.name} have {splits.channels}: leave it out"
        )
    loader = BatchLoader(opening.workers if by_pil else 0, opening.device)
    train, test = (MemorySource(images, pixels, opening.device, data, loader if by_pil else None) for images in sides)
    return Feed.of(train, test, opening, splits.classes, pixels, loader, splits.class_names)


def _mix(*parts: int) -> int:
    """A seed from several numbers; neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1
