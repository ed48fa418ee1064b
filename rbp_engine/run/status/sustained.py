"""Since when something has been so without a break, in the samples of a run."""

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.samples import FiringHistory, Floats, HealthHistory

Bools: TypeAlias = NDArray[np.bool_]
S = TypeVar("S", FiringHistory, HealthHistory)

#: Samples in a row, the newest included, for which something must be so: one batch may be odd.
SUSTAINED = 3


def sustained(samples: S, so: Callable[[S], Bools]) -> Iterator[tuple[int, int]]:
    """The layers of which something is so now, as a function says of samples [N, L]; each with the sample since when.

    Mostly it is so of none in the newest samples, and then that is all that is looked at.
    """
    if not so(samples.newest(SUSTAINED)).all(0).any():
        return
    found = so(samples)
    for number in range(found.shape[1]):
        if (first := since(found[:, number])) is not None:
            yield number, first


def since(found: Bools) -> int | None:
    """The sample [N] since which it has held without a break; None if it does not, or not for long enough."""
    breaks = np.flatnonzero(~found)
    first = int(breaks[-1]) + 1 if len(breaks) else 0
    return first if len(found) - first >= SUSTAINED else None


def mean_over_epoch(curve: Curve) -> Floats:
    """For each sample the mean of those of the epoch before it, itself included: [N]."""
    known = np.isfinite(curve.value)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, curve.value, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    begins = np.searchsorted(curve.epoch, curve.epoch - 1.0, side="right")
    begins = np.minimum(begins, np.arange(len(curve)))
    ends = np.arange(1, len(curve) + 1)
    return np.asarray((sums[ends] - sums[begins]) / (counts[ends] - counts[begins]))
