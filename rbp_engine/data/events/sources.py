"""Batches of event frames [T, B, C, H, W]: augmentation is a function of seed, epoch and position alone."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.loading.batch_loader import Batch, BatchLoader
from rbp_engine.data.loading.prefetch import moved
from rbp_engine.data.loading.shares import Batches
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches, Wanted, permutation

Integers = npt.NDArray[np.int64]


def event_training(
    samples: Samples,
    index: Integers,
    loader: BatchLoader,
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    roll: int = 0,
    drop_last: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> TrainingBatches:
    """Shuffled batches of (frames float32 [T, B, C, H, W], labels [B]) on the device, from the samples at `index`.

    `flip` mirrors a sample left to right with probability one half; `roll` is the largest cyclic shift in pixels, down
    and right; all timesteps of a sample are treated alike. `batch_size` counts samples over all processes: process
    `rank` of `world_size` gets its share of each batch. Raises ValueError for a batch that cannot be filled.
    """

    def finish(wanted: Wanted, counts: Tensor, labels: Tensor) -> Batch:
        if flip or roll:
            share = wanted.share
            # Drawn on the host, to be the same on every device.
            random = np.random.default_rng((seed, wanted.epoch, 1 + wanted.position))
            flipped = random.random(share.total)[share.places] < (0.5 if flip else 0.0)
            shifts = random.integers(-roll, roll + 1, (share.total, 2))[share.places]
            counts = mirror_and_roll(counts, torch.from_numpy(flipped), torch.from_numpy(shifts))
        return _frames(counts, samples.scale), labels

    batches = Batches(len(index), batch_size, drop_last, rank, world_size)
    read = loader.reading(Chosen(samples, index))
    return TrainingBatches(read, finish, permutation(seed, batches.count), batches)


def event_evaluation(samples: Samples, index: Integers, loader: BatchLoader, **shares: Any) -> EvaluationBatches:
    """The samples at `index` in order; the shares are those of `EvaluationBatches`."""

    def finish(_: Wanted, counts: Tensor, labels: Tensor) -> Batch:
        return _frames(counts, samples.scale), labels

    return EvaluationBatches(loader.reading(Chosen(samples, index)), finish, len(index), **shares)


class Chosen(Dataset[Any]):
    """The samples at `index`, in their order."""

    def __init__(self, samples: Samples, index: Integers) -> None:
        self.samples, self.index = samples, index

    @classmethod
    def all_of(cls, samples: Samples) -> "Chosen":
        return cls(samples, np.arange(len(samples)))

    @property
    def labels(self) -> Integers:
        return self.samples.labels[self.index]

    def subset(self, index: Integers) -> "Chosen":
        return Chosen(self.samples, self.index[index])

    def __getitem__(self, wanted: Wanted) -> tuple[Tensor, Tensor] | str:
        """Counts [B, T, C, H, W] and labels [B], or an error message."""
        index = self.index[wanted.indices]
        # Read the file forwards, whatever the order of the batch.
        order = np.argsort(index)
        counts = np.empty((len(index), *self.samples.counts.shape[1:]), self.samples.counts.dtype)
        try:
            counts[order] = self.samples.counts[index[order]]
        except (OSError, ValueError, IndexError) as error:
            return str(error)
        return torch.from_numpy(counts), torch.from_numpy(self.samples.labels[index])


def _frames(counts: Tensor, scale: float) -> Tensor:
    """Frames float32 [T, B, C, H, W] of counts [B, T, C, H, W]."""
    frames = counts.transpose(0, 1).contiguous().float()
    return frames if scale == 1.0 else frames * scale


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
