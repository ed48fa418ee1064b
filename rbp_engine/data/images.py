"""Data sets of images that are kept in memory."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.data.data_set import FOR_GREY_IMAGES, FOR_IMAGES, DataSet, unpacked
from rbp_engine.data.files import problems_of, read_published
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import MIB

if TYPE_CHECKING:
    from rbp_engine.data.feed import Feed, Opening
    from rbp_engine.data.splits import DataSplits, Images


@dataclass(frozen=True, kw_only=True)
class ImagesInMemory(DataSet):
    """Images in memory as uint8, normalised and augmented in batches on the device.

    `mean` and `deviation` are those of each channel, of pixels scaled to [0, 1].
    """

    takes: tuple[str, ...] = FOR_IMAGES
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def images(self, folder: Path) -> "tuple[Images, Images]":
        """Training and test images in the set's folder. Raises DataError for a damaged file."""
        raise NotImplementedError

    def load(self) -> "DataSplits":
        # torch takes seconds to import.
        from rbp_engine.data.splits import DataSplits

        sides = self.images(self.require().path or Path())
        return DataSplits(*sides, self.classes, self.mean, self.deviation, self.class_names)

    def open(self, opening: "Opening") -> "Feed":
        from rbp_engine.data.loading.memory import images_in_memory

        return images_in_memory(self.load(), opening)


@dataclass(frozen=True, kw_only=True)
class PackagedImages(ImagesInMemory):
    """Grey images in a `file` of a Python package; stratified, split seed 0.

    `brightest` is the value of a white pixel.
    """

    takes: tuple[str, ...] = FOR_GREY_IMAGES
    file: str
    brightest: int = 255

    def images(self, folder: Path) -> "tuple[Images, Images]":
        import numpy as np
        import torch

        from rbp_engine.data.readers.packaged import read_packaged
        from rbp_engine.data.splits import Images, stratified_split

        table, (height, width) = read_packaged(self.module, self.file), self.image_size
        expected = (self.train_size + self.test_size, height * width + 1)
        if table.shape != expected or set(table[:, -1].tolist()) != set(range(self.classes)):
            raise DataError(
                f"{self.layout}: images and labels have the shape {table.shape}, expected {expected} and labels from 0 "
                f"to {self.classes - 1}: install another version of it"
            )
        pixels = np.rint(table[:, :-1].reshape(-1, 1, *self.image_size) * (255 / self.brightest)).astype(np.uint8)
        whole = Images(torch.from_numpy(pixels), torch.from_numpy(table[:, -1].astype(np.int64)))
        return stratified_split(whole, self.test_size)

    def problems(self, folder: Path | None) -> list[str]:
        return problems_of([partial(self.images, Path())])


@dataclass(frozen=True, kw_only=True)
class PublishedImages(ImagesInMemory):
    """Images in files that torchvision can download; `download` is the name of its class for them.

    `largest` is how many bytes the content of a file may have.
    """

    largest: int = 64 * MIB

    def contents(self, folder: Path) -> list[bytes]:
        """What is in each of the files, in their order. Raises DataError for one that is not as published."""
        return [read_published(unpacked(folder / name), md5, self.largest) for name, md5 in self.files]

    def problems(self, folder: Path | None) -> list[str]:
        there = [(unpacked((folder or Path()) / name), md5) for name, md5 in self.files]
        return problems_of(partial(read_published, path, md5, self.largest) for path, md5 in there)
