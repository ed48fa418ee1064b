"""The batches of images that are kept in memory."""

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.batches import NormalisePixels, memory_evaluation, memory_training
from rbp_engine.data.loading.folder_batches import image_training
from rbp_engine.data.loading.source import EvaluationBatches, TrainingBatches
from rbp_engine.data.opening import Opening
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.splits import DataSplits, Images


def images_in_memory(splits: DataSplits, opening: Opening) -> Feed:
    """The batches of a run."""
    normalise, data = NormalisePixels(splits.mean, splits.deviation, opening.device), opening.data
    loader = BatchLoader(opening.workers, opening.device) if data.augment_backend == "pil" else None

    def evaluation(images: Images, split: str) -> EvaluationBatches:
        return memory_evaluation(images.to(opening.device), normalise, split=split, **opening.shares)

    def training(images: Images) -> TrainingBatches:
        if loader is not None:
            return _augmented_by_pil(images, splits, opening, loader)
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

    raw = Pixels(tuple(splits.mean), tuple(splits.deviation))
    described = splits.classes, raw, splits.class_names, loader
    return Feed.of(splits.train, splits.test, opening.held_out, training, evaluation, *described)


def _augmented_by_pil(images: Images, splits: DataSplits, opening: Opening, loader: BatchLoader) -> TrainingBatches:
    # torchvision takes seconds to import.
    from rbp_engine.data.augment.pil_augmentation import PilImages

    data = opening.data
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
        loader,
        seed=opening.seed,
        flip=False,
        drop_last=data.drop_last,
        **opening.shares,
    )
