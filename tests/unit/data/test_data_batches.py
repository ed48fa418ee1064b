from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rbp_engine.data.loading.memory import MemorySource
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.preprocess import Pixels
from rbp_engine.data.splits import DataSplits, Images
from rbp_engine.errors import SettingsError
from rbp_engine.preset.sections.data import DataSection

CPU = torch.device("cpu")
AUGMENTED = {"crop_padding": 2, "flip": True, "cutout": 3}


def splits(count: int, mean: float = 0.0, deviation: float = 1.0) -> DataSplits:
    """Random images; the label of each is its index."""
    pixels = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(count))
    images = Images(pixels, torch.arange(count))
    return DataSplits(images, images, count, (mean,), (deviation,))


def train_batches(count: int = 23, batch_size: int = 5, seed: int = 1, **settings: Any) -> TrainingBatches:
    return batches_of(splits(count), batch_size=batch_size, seed=seed, **settings)


def batches_of(data: DataSplits, **settings: Any) -> TrainingBatches:
    cut = {key: settings.pop(key) for key in list(settings) if key in Cut.__dataclass_fields__}
    asked = DataSection(name="fake", **settings)
    return MemorySource(data.train, Pixels(data.mean, data.deviation), CPU, asked).training(Cut(**cut))


def labels(batches: TrainingBatches, epoch: int, start: int = 0) -> list[int]:
    return [label for _, labels in batches.epoch(epoch, start) for label in labels.tolist()]


@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 2**70), st.integers(0, 400))
def test_an_epoch_has_every_image_once_in_batches_of_the_given_size(count, batch_size, drop_last, seed, epoch):
    if drop_last and batch_size > count:
        with pytest.raises(ValueError, match=rf"data\.batch_size = {batch_size} is more than the {count} training"):
            train_batches(count, batch_size, drop_last=True)
        return
    batches = train_batches(count, batch_size, seed, drop_last=drop_last)
    found, rest = labels(batches, epoch), 0 if drop_last else count % batch_size
    sizes = [len(part) for _, part in batches.epoch(epoch)]
    assert sizes == [batch_size] * (count // batch_size) + [rest] * bool(rest) and len(sizes) == len(batches)
    assert len(set(found)) == len(found) == sum(sizes) and set(found) <= set(range(count))


def test_the_order_depends_only_on_seed_and_epoch_and_nothing_is_drawn_from_the_global_generator():
    first = [labels(train_batches(), epoch) for epoch in range(3)]
    torch.manual_seed(99)
    torch.rand(7)
    other_settings = train_batches(batch_size=7, **AUGMENTED)
    assert [labels(other_settings, epoch) for epoch in reversed(range(3))] == first[::-1]
    orders = [labels(train_batches(seed=seed), epoch) for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16
    assert list(range(23)) not in orders
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(train_batches(**AUGMENTED).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("settings", [{}, {"crop_padding": 2}, {"flip": True}, {"cutout": 3}, {"drop_last": True}])
def test_batches_from_a_position_are_the_tail_of_the_epoch(settings):
    whole = list(train_batches(**settings).epoch(3))
    for start in range(len(whole) + 1):
        tail = list(train_batches(**settings).epoch(3, start))
        assert len(tail) == len(whole) - start
        for (images, labels), (expected_images, expected_labels) in zip(tail, whole[start:], strict=True):
            assert torch.equal(images, expected_images) and torch.equal(labels, expected_labels)


@pytest.mark.parametrize("settings", [{"crop_padding": 2}, {"flip": True}, {"cutout": 3}])
def test_augmentation_treats_images_batches_epochs_and_seeds_differently(settings):
    """All images are equal here, so only the augmentation can make a difference."""
    pixels = torch.arange(1, 37, dtype=torch.uint8).view(1, 1, 6, 6).repeat(64, 1, 1, 1)
    images = Images(pixels, torch.arange(64))
    data = DataSplits(images, images, 64, (0.0,), (1.0,))
    batches = batches_of(data, batch_size=32, seed=1, **settings)
    first, second = (images for images, _ in batches.epoch(0))
    assert len(first.unique(dim=0)) > 1
    assert not torch.equal(first, second)
    assert not torch.equal(first, next(batches.epoch(1))[0])
    assert not torch.equal(first, next(batches_of(data, batch_size=32, seed=2, **settings).epoch(0))[0])


def test_a_hole_has_the_value_of_the_mean():
    data = splits(8, mean=0.5, deviation=0.25)
    [(images, _)] = batches_of(data, batch_size=8, seed=1, cutout=20).epoch(0)
    assert bool((images == 0).all())  # normalised, zero is the mean


# Several processes


@given(st.integers(1, 60), st.integers(1, 20), st.booleans(), st.integers(1, 5), st.integers(0, 9))
def test_the_joined_shares_of_several_processes_are_the_batches_of_one(count, batch_size, drop_last, world_size, epoch):
    settings = AUGMENTED | {"drop_last": drop_last, "batch_size": batch_size, "count": count}
    sizes = [min(batch_size, count - first) for first in range(0, count, batch_size)]
    if drop_last:
        sizes = [size for size in sizes if size == batch_size]
    if not sizes or sizes[-1] < world_size:
        with pytest.raises(ValueError, match=r"is more than the|is less than the \d processes"):
            train_batches(**settings, rank=0, world_size=world_size)
        return
    whole = list(train_batches(**settings).epoch(epoch))
    ranks = [train_batches(**settings, rank=rank, world_size=world_size) for rank in range(world_size)]
    for position, parts in enumerate(zip(*(rank.epoch(epoch) for rank in ranks), strict=True)):
        images, numbers = (torch.cat(side) for side in zip(*parts, strict=True))
        assert torch.equal(images, whole[position][0]) and torch.equal(numbers, whole[position][1])
        assert {rank.size(position) for rank in ranks} == {len(numbers)} == {sizes[position]}
        shares = [len(part) for _, part in parts]
        assert max(shares) - min(shares) <= 1


def test_joined_autoaugmented_shares_are_the_batch_of_one_process():
    draw = torch.Generator().manual_seed(0)
    images = Images(torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8, generator=draw), torch.arange(24))

    def batch(**ranks: int) -> Tensor:
        data = DataSplits(images, images, 24, (0.0,) * 3, (1.0,) * 3)
        return next(batches_of(data, batch_size=24, seed=1, auto_augment=True, **ranks).epoch(0))[0]

    assert torch.equal(batch(), torch.cat([batch(rank=rank, world_size=2) for rank in (0, 1)]))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 5))
def test_an_evaluation_has_every_image_once_and_in_order_whatever_the_number_of_processes(count, batch_size, size):
    data = splits(count)
    source = MemorySource(data.test, Pixels(data.mean, data.deviation), CPU, DataSection(name="fake"))
    shares = [source.evaluation(Cut(batch_size=batch_size, rank=rank, world_size=size)) for rank in range(size)]
    images, numbers = (torch.cat(side) for side in zip(*(batch for share in shares for batch in share), strict=True))
    assert numbers.tolist() == list(range(count))
    assert torch.equal((images * 255).round().to(torch.uint8), data.test.pixels)


def test_autoaugment_of_images_without_three_channels_is_refused():
    grey = DataSection(name="fake", auto_augment=True, args={"shape": [1, 6, 6]})
    with pytest.raises(SettingsError, match=r"data\.auto_augment is for images of 3 channels; those of fake have 1"):
        open_feed(grey, timesteps=2, seed=1, held_out=0.0, device=CPU)
