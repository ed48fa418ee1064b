"""Seed the global generators; order and augmentation of the data have their own seeds."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_rank(seed: int, rank: int) -> None:
    """Give each rank its own dropout: ranks draw the same weights before this, and different numbers after it."""
    if rank:
        seed_everything(int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0]) >> 1)
