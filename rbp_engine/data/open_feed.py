"""The batches of a run: the preset's data set with its split and augmentation; and what is known of it before."""

from dataclasses import replace
from pathlib import Path

import torch

from rbp_engine.data.augment.mixing import mixed
from rbp_engine.data.catalog import catalogued
from rbp_engine.data.data_set import DataShape
from rbp_engine.data.feed import DataSettings, Feed, Opening
from rbp_engine.data.loading.memory import images_in_memory
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.splits import DataSplits, check_splits
from rbp_engine.errors import OwnCodeError
from rbp_engine.user_code import call_own, is_own


def open_feed(
    data: DataSettings,
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
    cut = Cut(batch_size=data.batch_size, seed=seed, drop_last=data.drop_last, rank=rank, world_size=world_size)
    opening = Opening(data, timesteps, held_out, device, cut)
    if is_own(data.name):
        feed = images_in_memory(_own_splits(data, own_code), opening)
    else:
        feed = catalogued(data.name).open(opening)
    if not data.mixup and not data.cutmix:
        return feed
    return replace(feed, train=mixed(feed.train, feed.classes, data.mixup, data.cutmix, seed))


def _own_splits(data: DataSettings, own_code: Path) -> DataSplits:
    splits = call_own(data.name, own_code, **data.args)
    if not isinstance(splits, DataSplits):
        raise OwnCodeError(f"{data.name} gave {type(splits).__name__}, not rbp_engine.data.splits.DataSplits")
    if problems := check_splits(splits):
        raise OwnCodeError(f"{data.name}: {'; '.join(problems)}")
    return splits


def known_shape(data: DataSettings) -> DataShape | None:
    """The shape of a preset's data, without opening it; None for a user's own data set, by code or in folders."""
    return None if is_own(data.name) else catalogued(data.name).shape(data)


def is_here(data: DataSettings) -> bool:
    """Whether the data can be opened quickly. Recordings may first need a conversion, which takes minutes."""
    if is_own(data.name):
        return True
    data_set = catalogued(data.name)
    return data_set.kind != "recordings" and data_set.find().found
