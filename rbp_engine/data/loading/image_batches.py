"""ImageNet, or any other set of image files in class folders that are read one by one."""

import numpy as np
import torch

from rbp_engine.data.loading.batches import NormalisePixels
from rbp_engine.data.loading.folder_batches import WorkerEvaluationBatches, WorkerTrainBatches
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
    batch_size: int,
    seed: int,
    held_out: float,
    device: torch.device,
    size: int = 224,
    flip: bool = True,
    drop_last: bool = False,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Feed:
    """The batches of these images, which are read one by one; `folders.val` is the test set.

    Training: a random crop resized to `size` × `size` pixels, mirrored with probability one half; evaluation: the
    centre. `batch_size` counts images over all processes, `held_out` is the fraction of each training class to validate
    on (0: on the test set), `workers` the number of reading processes per rank. A damaged file raises ValueError once
    it is read.
    """
    normalise = NormalisePixels(MEAN, DEVIATION, device)

    def evaluation(images: ImageList, split: str) -> WorkerEvaluationBatches:
        return WorkerEvaluationBatches(
            FileImages(images, size),
            normalise,
            device=device,
            batch_size=batch_size,
            workers=workers,
            split=split,
            rank=rank,
            world_size=world_size,
        )

    training = folders.train
    test = validation = evaluation(folders.val, "test")
    if held_out:
        training, held = _hold_out(training, held_out)
        validation = evaluation(held, "held-out")
    train = WorkerTrainBatches(
        FileImages(training, size),
        normalise,
        device=device,
        batch_size=batch_size,
        seed=seed,
        flip=flip,
        drop_last=drop_last,
        workers=workers,
        rank=rank,
        world_size=world_size,
    )
    record = {"name": name, "train_files": training.fingerprint(), "test_files": folders.val.fingerprint()}
    loaders = (train.loader, validation.loader, test.loader)
    raw = Pixels(MEAN, DEVIATION, crop=size)
    return Feed(train, validation, test, len(folders.classes), 3, raw, record, loaders, folders.classes)


def _hold_out(images: ImageList, fraction: float) -> tuple[ImageList, ImageList]:
    numbers = Images(torch.arange(len(images)), torch.from_numpy(images.labels))
    rest, held = (np.asarray(part.pixels) for part in stratified_split(numbers, fraction))
    return images.subset(rest), images.subset(held)
