"""ImageNet, or any other set of image files in class folders that are read one by one."""

from typing import Any

import torch

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batches import NormalisePixels
from rbp_engine.data.loading.folder_batches import image_evaluation, image_training
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.readers.image_files import FileImages
from rbp_engine.data.readers.image_folders import ImageFolders
from rbp_engine.data.stratified import stratified_indices

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
        kept, held = stratified_indices(training.labels, held_out)
        held_images = FileImages(training.subset(held), size)
        validation = image_evaluation(held_images, normalise, split="held-out", **reading)
        training = training.subset(kept)
    train = image_training(FileImages(training, size), normalise, seed=seed, flip=flip, drop_last=drop_last, **reading)
    record = {"name": name, "train_files": training.fingerprint(), "test_files": folders.val.fingerprint()}
    raw = Pixels(MEAN, DEVIATION, crop=size)
    return Feed(train, validation, test, len(folders.classes), 3, raw, record, folders.classes)
