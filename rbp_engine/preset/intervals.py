"""Parse the value of `train.checkpoint_every`."""

import re
from typing import Literal

from rbp_engine.guard.time_span import SECONDS

_INTERVAL = re.compile(r"([0-9]{1,9}) ?(epochs?|s|min|h)")
_MOST = 1_000_000


def parse_checkpoint_every(text: str) -> tuple[Literal["epochs", "seconds"], float]:
    """Parse how often a checkpoint is written: `"1 epoch"`, `"5 epochs"`, `"90s"`, `"10 min"`, `"1 h"`.

    The number is at most a million. Returns the unit, epochs or seconds, and the amount. Raises `ValueError` for
    anything else.
    """
    match = _INTERVAL.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= _MOST:
        raise ValueError(
            'expected a whole number from 1 to a million with a unit, as "1 epoch", "30 s", "10 min" or "1 h"'
        )
    amount, unit = int(match[1]), match[2]
    if unit in SECONDS:
        return "seconds", float(amount * SECONDS[unit])
    return "epochs", float(amount)
