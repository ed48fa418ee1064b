"""The batches of images that are kept in memory."""

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batches import NormalisePixels, memory_evaluation, memory_training
from rbp_engine.data.loading.folder_batches import image_training
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.data.opening import Opening
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.splits import DataSplits, Images, stratified_split


def images_in_memory(splits: DataSplits, opening: Opening, class_names: tuple[str, ...] = ()) -> Feed:
    """The batches of a run; `class_names` are those of a set whose files have none."""
    normalise = NormalisePixels(splits.mean, splits.deviation, opening.device)
    test = memory_evaluation(splits.test.to(opening.device), normalise, split="test", **opening.shares)
    train_images, validation = splits.train, test
    if opening.held_out:
        train_images, held = stratified_split(train_images, opening.held_out)
        validation = memory_evaluation(held.to(opening.device), normalise, split="held-out", **opening.shares)
    train = _training(splits, train_images, normalise, opening)
    raw = Pixels(tuple(splits.mean), tuple(splits.deviation))
    names = splits.class_names or class_names
    record = {"name": opening.data.name}
    return Feed(train, validation, test, splits.classes, splits.channels, raw, record, names)


def _training(splits: DataSplits, images: Images, normalise: NormalisePixels, opening: Opening) -> TrainingBatches:
    data = opening.data
    if data.augment_backend == "pil":
        # torchvision takes seconds to import.
        from rbp_engine.data.augment.pil_augmentation import PilImages

        reader = PilImages(
            images,
            splits,
            crop_padding=data.crop_padding,
            flip=data.flip,
            autoaugment=data.auto_augment,
            cutout=data.cutout,
        )
        return image_training(
            reader,
            lambda augmented: augmented,
            device=opening.device,
            seed=opening.seed,
            flip=False,
            drop_last=data.drop_last,
            workers=opening.workers,
            **opening.shares,
        )
    return memory_training(
        images.to(opening.device),
        normalise,
        crop_padding=data.crop_padding,
        flip=data.flip,
        auto_augment=data.auto_augment,
        cutout=data.cutout,
        drop_last=data.drop_last,
        seed=opening.seed,
        **opening.shares,
    )
