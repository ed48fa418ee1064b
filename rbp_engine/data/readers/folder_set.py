"""Any folders of images, `<root>/train/<class>/*` and `<root>/test/<class>/*` (or `val`), as a data set."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from rbp_engine.data.files import problems_of
from rbp_engine.data.loading.workers import cores_of_a_rank
from rbp_engine.data.readers.image_files import read_image
from rbp_engine.data.readers.image_folders import ImageFolders, ImageList, list_folder_set, other_files
from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.errors import DataError

# Bytes of pixels that are kept in memory. Not a share of what is free: a run must not depend on the machine.
_MOST_IN_MEMORY: Final = 2**32
_AT_A_TIME: Final = 1024


def in_memory(folders: ImageFolders) -> DataSplits | None:
    """All images as RGB in memory; None where they are not of one size, or larger than 4 GiB together.

    Mean and deviation are those of the training images. Raises DataError, naming the file, for a damaged image.
    """
    shape = read_image(folders.train.path(0)).shape
    if (len(folders.train) + len(folders.val)) * math.prod(shape) > _MOST_IN_MEMORY:
        return None
    sides = []
    for images in (folders.train, folders.val):
        pixels = _decoded(images, shape)
        if pixels is None:
            return None
        sides.append(Images(pixels, torch.from_numpy(images.labels)))
    train, test = sides
    mean, deviation = _statistics(train.pixels)
    return DataSplits(train, test, len(folders.classes), mean, deviation, folders.classes)


def notes(folders: ImageFolders) -> tuple[str, ...]:
    """What a user should know of the folders: the files that are skipped."""
    others = other_files(folders)
    if not others:
        return ()
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return (f"{others[0]}{more} skipped: not named as a JPEG or PNG image (.JPEG, .jpg, .png)",)


def check_folder_set(root: Path) -> list[str]:
    """The problems of the folders in `root`, none if they are whole; decodes every image."""
    try:
        folders = list_folder_set(root)
    except DataError as error:
        return [str(error)]
    paths = [images.path(index) for images in (folders.train, folders.val) for index in range(len(images))]
    return [*notes(folders), *problems_of(partial(read_image, path) for path in paths)]


def _decoded(images: ImageList, shape: torch.Size) -> Tensor | None:
    """The pixels [N, 3, H, W]; None if an image has another shape."""
    pixels = torch.empty((len(images), *shape), dtype=torch.uint8)
    with ThreadPoolExecutor(cores_of_a_rank()) as threads:
        for start in range(0, len(images), _AT_A_TIME):
            numbers = range(start, min(start + _AT_A_TIME, len(images)))
            for number, image in zip(numbers, threads.map(read_image, map(images.path, numbers)), strict=True):
                if image.shape != shape:
                    return None
                pixels[number] = image
    return pixels


def _statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation of each channel, of pixels scaled to [0, 1], rounded to four digits.

    From counts of the 256 values, so that no order of a sum decides.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in pixels.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = float(share @ values)
        means.append(round(mean, 4))
        # Images of one colour are not divided by zero.
        deviations.append(max(round(math.sqrt(float(share @ (values - mean) ** 2)), 4), 1e-4))
    return tuple(means), tuple(deviations)
