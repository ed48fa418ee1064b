"""The batches of a run: the preset's data set with its split and augmentation."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rbp_engine.data.augment.mixing import MixedBatches
from rbp_engine.data.catalog import require
from rbp_engine.data.class_names import CLASS_NAMES
from rbp_engine.data.events.opening import open_events
from rbp_engine.data.loading.batches import EvaluationBatches, NormalisePixels, TrainBatches
from rbp_engine.data.loading.folder_batches import WorkerTrainBatches
from rbp_engine.data.loading.loading import load
from rbp_engine.data.loading.workers import cores_of_a_rank, reading_processes
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.protocol import Feed, TrainingSource
from rbp_engine.data.sets.fake import arguments_of, fake, fake_frames
from rbp_engine.data.splits import DataSplits, Images, check_splits, stratified_split
from rbp_engine.errors import DataError, OwnCodeError
from rbp_engine.settings.machine import made_cache_directory
from rbp_engine.user_code import call_own, is_own
from rbp_engine.vocabulary import EVENT_SETS, FOLDER_SET

if TYPE_CHECKING:
    from rbp_engine.preset.sections.data import DataSection


def open_feed(
    data: "DataSection",
    *,
    timesteps: int,
    seed: int,
    held_out: float,
    device: torch.device,
    own_code: Path = Path(),
    rank: int = 0,
    world_size: int = 1,
) -> Feed:
    """Open the data set of a preset's `[data]`, as process `rank` of `world_size` sees it.

    `held_out` is the fraction of the training set to validate on, `own_code` the folder of the user's own data sets.
    Raises DataMissing, or ValueError for a damaged file or a batch that cannot be filled.
    """
    feed = _open(data, timesteps, seed, held_out, device, own_code, rank, world_size)
    if not data.mixup and not data.cutmix:
        return feed
    mixed = MixedBatches(feed.train, feed.classes, data.mixup, data.cutmix, seed, rank)
    return replace(feed, train=mixed)


def _open(
    data: "DataSection",
    timesteps: int,
    seed: int,
    held_out: float,
    device: torch.device,
    own_code: Path,
    rank: int,
    world_size: int,
) -> Feed:
    batches: dict[str, Any] = {
        "device": device,
        "batch_size": data.batch_size,
        "rank": rank,
        "world_size": world_size,
    }
    workers = reading_processes(data.workers, cores_of_a_rank())
    shared = batches | {"seed": seed, "held_out": held_out}
    frames = shared | {"flip": data.flip, "roll": data.roll, "drop_last": data.drop_last, "workers": workers}
    if data.name == "imagenet":
        # torchvision takes seconds to import, and is needed only here.
        from rbp_engine.data.loading.image_batches import imagenet

        return imagenet(
            require(data.name).path or Path(),
            cache=made_cache_directory(),
            size=data.size or 224,
            flip=data.flip,
            drop_last=data.drop_last,
            workers=workers,
            **shared,
        )
    if FOLDER_SET.fullmatch(data.name):
        return _image_folders(data, workers=workers, **shared)
    if data.name in EVENT_SETS:
        return open_events(
            name=data.name,
            timesteps=timesteps,
            root=require(data.name).path,
            cache=made_cache_directory() / "events",
            frames_by=data.frames_by,
            split=data.split,
            resize=data.resize,
            size=data.size or 48,
            orientation=data.orientation,
            **frames,
        )
    if data.name == "fake" and data.args.get("frames"):
        return fake_frames(timesteps=timesteps, **frames, **arguments_of(data.args, data.size))
    return _images_in_memory(data, _splits(data, own_code), workers=workers, **shared)


def _splits(data: "DataSection", own_code: Path) -> DataSplits:
    if data.name == "fake":
        return fake(**arguments_of(data.args, data.size))
    if not is_own(data.name):
        return load(data.name)
    splits = call_own(data.name, own_code, **data.args)
    if not isinstance(splits, DataSplits):
        raise OwnCodeError(f"{data.name} gave {type(splits).__name__}, not rbp_engine.data.splits.DataSplits")
    if problems := check_splits(splits):
        raise OwnCodeError(f"{data.name}: {'; '.join(problems)}")
    return splits


def _image_folders(data: "DataSection", **settings: Any) -> Feed:
    """The user's folders of images: in memory where all have one size and fit there, else read one by one."""
    # As above.
    from rbp_engine.data.loading.image_batches import image_batches
    from rbp_engine.data.readers.folder_set import in_memory, notes
    from rbp_engine.data.readers.image_folders import list_folder_set

    folders = list_folder_set(require(data.name).path or Path())
    splits = None if data.size else in_memory(folders)
    if splits is not None:
        feed = _images_in_memory(data, splits, **settings)
    else:
        for_memory = {key: getattr(data, key) for key in ("crop_padding", "cutout", "auto_augment")}
        if given := [f"data.{key}" for key, value in for_memory.items() if value]:
            raise DataError(
                f"the images of {data.name} are of several sizes, or more than 4 GiB, so they are read one by one and "
                f"cropped at random to data.size (224): leave out {', '.join(given)}"
            )
        size = data.size or 224
        feed = image_batches(data.name, folders, size=size, flip=data.flip, drop_last=data.drop_last, **settings)
    return replace(feed, notes=notes(folders))


def _images_in_memory(
    data: "DataSection",
    splits: DataSplits,
    *,
    workers: int,
    seed: int,
    held_out: float,
    device: torch.device,
    **batches: int,
) -> Feed:
    normalise = NormalisePixels(splits.mean, splits.deviation, device)
    test = EvaluationBatches(splits.test.to(device), normalise, split="test", **batches)
    train_images, validation = splits.train, test
    if held_out:
        train_images, held = stratified_split(train_images, held_out)
        validation = EvaluationBatches(held.to(device), normalise, split="held-out", **batches)
    train = _training(data, splits, train_images, normalise, workers=workers, device=device, seed=seed, **batches)
    loaders = (train.loader,) if isinstance(train, WorkerTrainBatches) else ()
    raw = Pixels(tuple(splits.mean), tuple(splits.deviation))
    names = splits.class_names or CLASS_NAMES.get(data.name, ())
    return Feed(train, validation, test, splits.classes, splits.channels, raw, {"name": data.name}, loaders, names)


def _training(
    data: "DataSection",
    splits: DataSplits,
    images: Images,
    normalise: NormalisePixels,
    *,
    workers: int,
    device: torch.device,
    **batches: int,
) -> TrainingSource:
    if data.augment_backend == "pil":
        # As above.
        from rbp_engine.data.augment.pil_augmentation import PilImages

        reader = PilImages(
            images,
            splits,
            crop_padding=data.crop_padding,
            flip=data.flip,
            autoaugment=data.auto_augment,
            cutout=data.cutout,
        )
        return WorkerTrainBatches(
            reader,
            lambda augmented: augmented,
            device=device,
            flip=False,
            drop_last=data.drop_last,
            workers=workers,
            **batches,
        )
    return TrainBatches(
        images.to(device),
        normalise,
        crop_padding=data.crop_padding,
        flip=data.flip,
        auto_augment=data.auto_augment,
        cutout=data.cutout,
        drop_last=data.drop_last,
        **batches,
    )
