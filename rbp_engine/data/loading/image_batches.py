"""ImageNet, or any other set of image files in class folders that are read one by one."""

from typing import Any

import torch

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.batches import NormalisePixels
from rbp_engine.data.loading.folder_batches import image_evaluation, image_training
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.readers.image_files import FileImages
from rbp_engine.data.readers.image_folders import ImageFolders, ImageList

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def image_batches(
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
    normalise, loader = NormalisePixels(MEAN, DEVIATION, device), BatchLoader(workers, device)

    def evaluation(images: ImageList, split: str) -> EvaluationBatches:
        return image_evaluation(FileImages(images, size), normalise, loader, split=split, **shares)

    def training(images: ImageList) -> TrainingBatches:
        reader = FileImages(images, size)
        return image_training(reader, normalise, loader, seed=seed, flip=flip, drop_last=drop_last, **shares)

    described = len(folders.classes), Pixels(MEAN, DEVIATION, crop=size), folders.classes, loader
    return Feed.of(folders.train, folders.val, held_out, training, evaluation, *described)
