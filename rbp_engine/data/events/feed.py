"""Batches of event frames [T, B, C, H, W], from a cache or in memory.

Augmentation is a function of seed, epoch and position alone.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rbp_engine.data.augment.augmentation import cutout
from rbp_engine.data.events.cache import Samples
from rbp_engine.data.feed import Feed, Opening
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader, Read
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.source import Finish, Index, Source, Wanted
from rbp_engine.data.preprocess import Frames


@dataclass(frozen=True)
class EventSource(Source):
    """Frames of events, on the device of the loader: batches are float32 [T, B, C, H, W].

    `flip` mirrors a sample left to right with probability one half; `roll` is the largest cyclic shift in pixels, down
    and right; `cutout` the side of a square without events. All timesteps of a sample are treated alike.
    """

    samples: Samples
    loader: BatchLoader
    flip: bool = False
    roll: int = 0
    cutout: int = 0

    @property
    def labels(self) -> Index:
        return self.samples.labels

    def reading(self, seed: int | None) -> tuple[Read, Finish]:
        def finish(wanted: Wanted, counts: Tensor, labels: Tensor) -> Batch:
            if seed is not None and (self.flip or self.roll or self.cutout):
                share = wanted.share
                # Drawn on the host, to be the same on every device.
                random = np.random.default_rng((seed, wanted.epoch, 1 + wanted.position))
                flipped = random.random(share.total)[share.places] < (0.5 if self.flip else 0.0)
                shifts = random.integers(-self.roll, self.roll + 1, (share.total, 2))[share.places]
                counts = mirror_and_roll(counts, torch.from_numpy(flipped), torch.from_numpy(shifts))
                if self.cutout:
                    generator = torch.Generator(counts.device).manual_seed(int(random.integers(2**63)))
                    counts = cutout(counts.flatten(1, 2), self.cutout, generator, share).view_as(counts)
            frames = counts.transpose(0, 1).contiguous().float()
            return frames if self.samples.scale == 1.0 else frames * self.samples.scale, labels

        return self.loader.reading(partial(_counts, self.samples)), finish


def _counts(samples: Samples, wanted: Wanted) -> tuple[Tensor, Tensor]:
    """Counts [B, T, C, H, W] and labels [B]."""
    index = wanted.indices
    # Read the file forwards, whatever the order of the batch.
    order = np.argsort(index)
    counts = np.empty((len(index), *samples.counts.shape[1:]), samples.counts.dtype)
    counts[order] = samples.counts[index[order]]
    return torch.from_numpy(counts), torch.from_numpy(samples.labels[index])


def mirror_and_roll(counts: Tensor, flipped: Tensor, shifts: Tensor) -> Tensor:
    """Mirror samples of counts [B, T, C, H, W] left to right where `flipped` [B], then shift them cyclically.

    `shifts` [B, 2] are pixels down and right. Done in one gather, by the number of each pixel in its frame.
    """
    height, width = counts.shape[-2:]
    device = counts.device
    flipped, shifts = moved(flipped, device), moved(shifts, device)
    rows = (torch.arange(height, device=device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=device) - shifts[:, 1:]) % width
    columns = torch.where(flipped.view(-1, 1), width - 1 - columns, columns)
    pixels = (width * rows.unsqueeze(2) + columns.unsqueeze(1)).flatten(1)
    frames = counts.flatten(1, 2).flatten(2)
    return frames.gather(2, pixels.unsqueeze(1).expand_as(frames)).view_as(counts)


def event_feed(
    train: Samples, test: Samples, classes: int, opening: Opening, class_names: tuple[str, ...] = ()
) -> Feed:
    """The batches of a run."""
    data, loader = opening.data, BatchLoader(opening.workers, opening.device)
    trained, tested = (EventSource(samples, loader, data.flip, data.roll, data.cutout) for samples in (train, test))
    frames = Frames(int(train.counts.shape[2]), train.scale)
    return Feed.of(trained, tested, opening, classes, frames, loader, class_names)
