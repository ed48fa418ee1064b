"""Data with a fault, for the runs that the rules are tested with."""

import torch

from rbp_engine.data.sets.digits import DIGITS
from rbp_engine.data.splits import DataSplits, Images


def few_digits(count=240, wrong=0.4):
    """The digits with `count` images to train on, of which a share has a wrong label."""
    data = DIGITS.load()
    draw = torch.Generator().manual_seed(0)
    labels = data.train.labels[:count].clone()
    spoiled = torch.rand(count, generator=draw) < wrong
    labels[spoiled] = torch.randint(0, 10, (int(spoiled.sum()),), generator=draw)
    return DataSplits(Images(data.train.pixels[:count], labels), data.test, 10, data.mean, data.deviation)
