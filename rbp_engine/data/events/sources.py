"""Batches of event frames [T, B, C, H, W]: order and augmentation are functions of seed, epoch and position alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.prefetch import moved, on_device
from rbp_engine.data.loading.shares import Batches, Share, evaluation_plan
from rbp_engine.data.protocol import Batch

Integers = npt.NDArray[np.int64]


class EventTraining:
    """Shuffled batches of (frames float32 [T, B, C, H, W], labels [B]) on the device, from the samples at `index`.

    `flip` mirrors a sample left to right with probability one half; `roll` is the largest cyclic shift in pixels, down
    and right; all timesteps of a sample are treated alike. `workers` processes read ahead, or this process reads if
    0. `batch_size` counts samples over all processes: process `rank` of `world_size` gets its share of each batch.
    Raises ValueError for a batch that cannot be filled.
    """

    def __init__(
        self,
        samples: Samples,
        index: Integers,
        *,
        device: torch.device,
        batch_size: int,
        seed: int,
        flip: bool = False,
        roll: int = 0,
        drop_last: bool = False,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.scale = samples.scale
        self.index = index
        self.device = device
        self.batches = Batches(len(index), batch_size, drop_last, rank, world_size)
        self.seed = seed
        self.flip = flip
        self.roll = roll
        self.loader = BatchLoader(_Recorded(samples), workers, device)

    def __len__(self) -> int:
        return len(self.batches)

    def size(self, position: int) -> int:
        """Samples of the batch at a position, over all processes."""
        return self.batches.size(position)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from position `start` on."""
        order = self.index[_random(self.seed, epoch, 0).permutation(len(self.index))]
        plan = (order[self.batches.places(position)] for position in range(start, len(self)))
        loaded = on_device(self.loader.load(plan), self.device)
        for (counts, labels), position in zip(loaded, range(start, len(self)), strict=True):
            draw = _random(self.seed, epoch, 1 + position)
            yield _frames(self._augment(counts, draw, self.batches.share(position)), self.scale), labels

    def _augment(self, counts: Tensor, random: np.random.Generator, share: Share) -> Tensor:
        if not (self.flip or self.roll):
            return counts
        # Drawn on the host, to be the same on every device.
        flipped = random.random(share.total)[share.places] < (0.5 if self.flip else 0.0)
        shifts = random.integers(-self.roll, self.roll + 1, (share.total, 2))[share.places]
        return mirror_and_roll(counts, torch.from_numpy(flipped), torch.from_numpy(shifts))


class EventEvaluation:
    """The samples at `index` in order, each exactly once; `split` is "test" or "held-out".

    `workers` processes read ahead, or this process reads if 0. Process `rank` of `world_size` gets a contiguous share
    of them, and `batch_size` counts samples over all processes.
    """

    def __init__(
        self,
        samples: Samples,
        index: Integers,
        *,
        device: torch.device,
        batch_size: int,
        split: str = "test",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.split = split
        self.scale = samples.scale
        self.index = index
        self.device = device
        self.loader = BatchLoader(_Recorded(samples), workers, device)
        self.plan = evaluation_plan(len(index), batch_size, rank, world_size)

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        plan = (self.index[places] for places in self.plan)
        for counts, labels in on_device(self.loader.load(plan), self.device):
            yield _frames(counts, self.scale), labels


class _Recorded(Dataset[Any]):
    """Counts [B, T, C, H, W] and labels [B] of the samples at an index [B], in its order; or an error message."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, index: Integers) -> tuple[Tensor, Tensor] | str:
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


def _random(*parts: Any) -> np.random.Generator:
    """A generator from several numbers; neighbouring numbers give unrelated generators."""
    return np.random.default_rng(np.random.SeedSequence(parts))
