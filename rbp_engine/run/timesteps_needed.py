"""How many timesteps a network needs: the smallest t whose accuracy is within a tolerance of that at T."""

import math
from collections.abc import Sequence

#: The share of accuracy that a user gives up for fewer timesteps: half a percentage point.
TOLERANCE = 0.005
# Accuracies are quotients: 0.905 − 0.005 must not be more than 0.9.
_ROUNDING = 1e-9


def timesteps_needed(top1_by_step: Sequence[float | None], tolerance: float = TOLERANCE) -> int | None:
    """The smallest t, from 1, whose accuracy (a fraction) is at most `tolerance` below that at T, the last.

    A higher accuracy than at T is near enough as well. None if the accuracy at T is not known.
    """
    last = top1_by_step[-1] if top1_by_step else None
    if last is None or not math.isfinite(last):
        return None
    return next(
        t for t, top1 in enumerate(top1_by_step, start=1) if top1 is not None and top1 >= last - tolerance - _ROUNDING
    )
