"""Hold out a part of a set with every class in proportion.

The parts equal those of scikit-learn's `train_test_split(stratify=…)`, draw for draw, so that splits made with either
are comparable; importing scikit-learn would cost every worker more than a second.
"""

import math

import numpy as np
from numpy.typing import NDArray

from rbp_engine.errors import SettingsError

Integers = NDArray[np.int64]


def stratified_indices(labels: Integers, held_out: int | float, seed: int = 0) -> tuple[Integers, Integers]:
    """(rest, held out) as sorted indices; `held_out` is a count or a fraction, rounded up.

    Raises SettingsError if a class would be empty in one of them.
    """
    count = held_out if isinstance(held_out, int) else math.ceil(held_out * len(labels))
    classes, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    draw = np.random.RandomState(seed)
    kept = _apportion(sizes, len(labels) - count, draw)
    if min(kept.min(), (sizes - kept).min()) < 1:
        raise SettingsError(
            f"{count} of {len(labels)} images cannot be held out with all {len(classes)} classes in both parts "
            f"(the smallest class has {sizes.min()})"
        )
    taken = _apportion(sizes - kept, count, draw)
    rest, held = [], []
    for number, size in enumerate(sizes):
        members = np.flatnonzero(of_class == number)[draw.permutation(size)]
        rest.append(members[: kept[number]])
        held.append(members[kept[number] : kept[number] + taken[number]])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(held))


def _apportion(sizes: Integers, total: int, draw: np.random.RandomState) -> Integers:
    """Shares of `total` in proportion to `sizes`: whole parts first, then the largest remainders, ties by lot."""
    exact = sizes / sizes.sum() * total
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(total - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        tied = np.flatnonzero(remainders == remainder)
        chosen = draw.choice(tied, size=min(len(tied), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    whole: Integers = shares.astype(np.int64)
    return whole
