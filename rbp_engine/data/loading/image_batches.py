"""ImageNet, or any other set of image files in class folders that are read one by one."""

from typing import Any

import numpy as np
import torch

from rbp_engine.data.loading.batches import NormalisePixels
from rbp_engine.data.loading.folder_batches import image_evaluation, image_training
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.protocol import Feed
from rbp_engine.data.readers.image_files import FileImages
from rbp_engine.data.readers.image_folders import ImageFolders, ImageList
from rbp_engine.data.splits import Images, stratified_split

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def image_batches(
    name: str,
    folders: ImageFolders,
    *,
    seed: int,
    held_out: float,
    device: torch.device,
    size: int = 224,
    flip: bool = True,
    drop_last: bool = False,
    workers: int = 0,
    **shares: Any,
) -> Feed:
    """The batches of these images, which are read one by one; `folders.val` is the test set.

    Training: a random crop resized to `size` × `size` pixels, mirrored with probability one half; evaluation: the
    centre. `held_out` is the fraction of each training class to validate on (0: on the test set), `workers` the number
    of reading processes per rank; `shares` are those of `Opening`. A damaged file raises ValueError once it is read.
    """
    reading: dict[str, Any] = {"device": device, "workers": workers} | shares
    normalise, training = NormalisePixels(MEAN, DEVIATION, device), folders.train
    test = validation = image_evaluation(FileImages(folders.val, size), normalise, **reading)
    if held_out:
        training, held = _hold_out(training, held_out)
        validation = image_evaluation(FileImages(held, size), normalise, split="held-out", **reading)
    train = image_training(FileImages(training, size), normalise, seed=seed, flip=flip, drop_last=drop_last, **reading)
    record = {"name": name, "train_files": training.fingerprint(), "test_files": folders.val.fingerprint()}
    loaders = tuple(one.loader for one in (train, validation, test) if one.loader is not None)
    raw = Pixels(MEAN, DEVIATION, crop=size)
    return Feed(train, validation, test, len(folders.classes), 3, raw, record, loaders, folders.classes)


def _hold_out(images: ImageList, fraction: float) -> tuple[ImageList, ImageList]:
    numbers = Images(torch.arange(len(images)), torch.from_numpy(images.labels))
    rest, held = (np.asarray(part.pixels) for part in stratified_split(numbers, fraction))
    return images.subset(rest), images.subset(held)
