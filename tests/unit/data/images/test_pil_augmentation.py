"""The paper's augmentation, image by image."""

import numpy as np
import torch
from torch import Tensor
from torchvision import transforms

from rbp_engine.data.augment.pil_augmentation import PilImages
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.one_by_one import OneByOne
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.data.preprocess import NormalisePixels, Pixels
from rbp_engine.data.sets.fake import fake
from rbp_engine.preset.sections.data import DataSection

CPU = torch.device("cpu")
SPLITS = fake(shape=(3, 32, 32), classes=10, train_size=24, test_size=1)


def paper_images(**settings: bool | int) -> PilImages:
    data = DataSection(name="fake", **settings)
    return PilImages(SPLITS.train.pixels, Pixels(SPLITS.mean, SPLITS.deviation), data)


def batches(workers: int, seed: int = 0) -> TrainingBatches:
    reader = paper_images(crop_padding=4, flip=True, auto_augment=True, cutout=16)
    source = OneByOne(reader, SPLITS.train.labels.numpy(), lambda images: images, BatchLoader(workers, CPU))
    return source.training(Cut(batch_size=10, seed=seed))


def images_of(source: TrainingBatches, epoch: int, start: int = 0) -> Tensor:
    return torch.cat([images for images, _ in source.epoch(epoch, start)])


def test_without_augmentation_images_are_only_normalised():
    plain = paper_images()
    expected = NormalisePixels(SPLITS.mean, SPLITS.deviation, CPU)(SPLITS.train.pixels[:4])
    for index in range(4):
        image = plain(index, np.random.default_rng(0))
        torch.testing.assert_close(image, expected[index], atol=1e-5, rtol=1e-5)


def test_it_equals_torchvisions_pipeline_with_the_drawn_seed():
    pipeline = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
            transforms.ToTensor(),
            transforms.Normalize(SPLITS.mean, SPLITS.deviation),
        ]
    )
    ours = paper_images(crop_padding=4, flip=True, auto_augment=True)
    for index in range(24):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng(index).integers(2**63)))
            expected = pipeline(SPLITS.train.pixels[index])
        assert torch.equal(ours(index, np.random.default_rng(index)), expected)


def test_an_epoch_is_reproducible_with_any_workers_varies_with_epoch_and_seed_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first = images_of(batches(0), 0)
    assert first.shape == (24, 3, 32, 32)
    assert torch.equal(first, images_of(batches(2), 0))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[10:], images_of(batches(0), 0, start=1))
    assert not torch.equal(first, images_of(batches(0), 1))
    assert not torch.equal(first, images_of(batches(0, seed=1), 0))


def test_a_hole_is_cut_last_and_has_the_mean_value():
    image = paper_images(auto_augment=True, cutout=16)(0, np.random.default_rng(0))
    assert int((image == 0).all(0).sum()) >= 64  # at least a quarter of the square is in the image
