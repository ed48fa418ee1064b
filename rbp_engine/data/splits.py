"""Data sets as tensors in memory, and how they are split."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rbp_engine.data.stratified import stratified_indices

#: Divided by less, pixels would be no numbers of float32, or infinite.
LEAST_DEVIATION: Final = 1e-6


@dataclass(frozen=True)
class Images:
    """`pixels` uint8 [N, C, H, W] and `labels` int64 [N]."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, index: NDArray[np.int64]) -> "Images":
        places = torch.from_numpy(index)
        return Images(self.pixels[places], self.labels[places])

    def to(self, device: torch.device) -> "Images":
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class DataSplits:
    """Training and test images; `mean` and `deviation` per channel, of pixels scaled to [0, 1].

    `class_names` are the names of the classes by label; empty if they have none.
    """

    train: Images
    test: Images
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    class_names: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return int(self.train.pixels.shape[1])


def check_splits(splits: DataSplits) -> list[str]:
    """The problems of a data set that a user's code has made; empty if there are none."""
    problems = []
    for side, images in (("train", splits.train), ("test", splits.test)):
        if images.pixels.dtype != torch.uint8 or images.pixels.ndim != 4:
            found = f"{images.pixels.dtype} of shape {list(images.pixels.shape)}"
            problems.append(f"{side}.pixels must be uint8 [N, C, H, W], got {found}")
        if images.labels.dtype != torch.int64 or images.labels.shape != images.pixels.shape[:1]:
            problems.append(f"{side}.labels must be int64 [N], one for each image")
        elif len(images) == 0 or not 0 <= int(images.labels.min()) <= int(images.labels.max()) < splits.classes:
            problems.append(f"{side}.labels must be from 0 to {splits.classes - 1}, with at least one image")
    if not len(splits.mean) == len(splits.deviation) == splits.channels:
        problems.append(f"mean and deviation need a number for each of the {splits.channels} channels")
    if not (
        all(map(math.isfinite, splits.mean)) and all(LEAST_DEVIATION <= one < math.inf for one in splits.deviation)
    ):
        problems.append(f"mean and deviation must be finite, and each deviation at least {LEAST_DEVIATION}")
    if splits.class_names and len(splits.class_names) != splits.classes:
        problems.append(f"class_names has {len(splits.class_names)} names for {splits.classes} classes")
    return problems


def stratified_split(images: Images, held_out: int | float, seed: int = 0) -> tuple[Images, Images]:
    """Split into (rest, held out), a count or a fraction, with every class in proportion; independent of a run's seed.

    Raises ValueError if a class would be empty.
    """
    rest, held = stratified_indices(images.labels.numpy(), held_out, seed)
    return images.subset(rest), images.subset(held)
