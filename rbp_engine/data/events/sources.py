"""Batches of event frames [T, B, C, H, W]: order and augmentation are functions of seed, epoch and position alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.protocol import Batch

Integers = npt.NDArray[np.int64]


class EventTraining:
    """Shuffled batches of (frames float32 [T, B, C, H, W], labels [B]) on the device, from the samples at `index`.

    `flip` mirrors a sample left to right with probability one half, `roll` shifts it by up to so many pixels down and
    right, around the edge; all timesteps of a sample alike. Raises ValueError for a batch that cannot be filled.
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
    ) -> None:
        self.samples = samples
        self.index = index
        self.device = device
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.roll = roll
        self.batches = len(index) // batch_size if drop_last else -(-len(index) // batch_size)
        if self.batches == 0:
            raise ValueError(
                f"data.batch_size = {batch_size} is more than the {len(index)} training samples (drop_last)"
            )

    def __len__(self) -> int:
        return self.batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the one at position `start` on."""
        order = self.index[_random(self.seed, epoch, 0).permutation(len(self.index))]
        for position in range(start, self.batches):
            chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
            frames, labels = read_batch(self.samples, chosen, self.device)
            yield self._augment(frames, _random(self.seed, epoch, 1 + position)), labels

    def _augment(self, frames: Tensor, random: np.random.Generator) -> Tensor:
        if not (self.flip or self.roll):
            return frames
        batch = frames.shape[1]
        # Drawn on the host: the same on every device.
        flipped = random.random(batch) < (0.5 if self.flip else 0.0)
        shifts = random.integers(-self.roll, self.roll + 1, (batch, 2))
        return mirror_and_roll(frames, torch.from_numpy(flipped), torch.from_numpy(shifts))


class EventEvaluation:
    """The samples at `index` in order, none twice, none left out; `split` is "test" or "held-out"."""

    def __init__(
        self, samples: Samples, index: Integers, *, device: torch.device, batch_size: int, split: str = "test"
    ) -> None:
        self.split = split
        self.samples = samples
        self.index = index
        self.device = device
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.index), self.batch_size):
            yield read_batch(self.samples, self.index[start : start + self.batch_size], self.device)


def read_batch(samples: Samples, index: Integers, device: torch.device) -> Batch:
    """Frames float32 [T, B, C, H, W] and labels [B] of the samples at `index`, in its order, on the device."""
    # Forward through the file, whatever the order of the batch.
    order = np.argsort(index)
    counts = np.empty((len(index), *samples.counts.shape[1:]), samples.counts.dtype)
    counts[order] = samples.counts[index[order]]
    frames = torch.from_numpy(counts).to(device).transpose(0, 1).contiguous().float()
    labels = torch.from_numpy(samples.labels[index]).to(device)
    return frames if samples.scale == 1.0 else frames * samples.scale, labels


def mirror_and_roll(frames: Tensor, flipped: Tensor, shifts: Tensor) -> Tensor:
    """Samples of frames [T, B, C, H, W]: mirrored left to right where `flipped` [B], then shifted around the edge.

    `shifts` [B, 2] is how many pixels down and right. In one gather.
    """
    steps, batch, channels, height, width = frames.shape
    device = frames.device
    flipped, shifts = flipped.to(device), shifts.to(device)
    rows = (torch.arange(height, device=device) - shifts[:, :1]) % height
    columns = (torch.arange(width, device=device) - shifts[:, 1:]) % width
    columns = torch.where(flipped.view(-1, 1), width - 1 - columns, columns)
    return frames[
        torch.arange(steps, device=device).view(-1, 1, 1, 1, 1),
        torch.arange(batch, device=device).view(-1, 1, 1, 1),
        torch.arange(channels, device=device).view(-1, 1, 1),
        rows.view(batch, 1, height, 1),
        columns.view(batch, 1, 1, width),
    ]


def _random(*parts: Any) -> np.random.Generator:
    """A generator from several numbers; neighbours give unrelated ones."""
    return np.random.default_rng(np.random.SeedSequence(parts))
