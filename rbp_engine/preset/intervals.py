"""Parse the value of `train.checkpoint_every`."""

import re
from typing import Literal

from rbp_engine.guard.time_span import is_time_span, parse_time_span

_EPOCHS = re.compile(r"([0-9]{1,7}) ?epochs?")
_MOST = 1_000_000


def parse_checkpoint_every(text: str) -> tuple[Literal["epochs", "seconds"], float]:
    """Parse how often a checkpoint is written: up to a million epochs, as `"1 epoch"` or `"5 epochs"`, or a span of
    time of at least a second, as `"90s"`, `"10 min"` or `"1 h"`.

    Returns the unit, epochs or seconds, and the amount. Raises `ValueError` for anything else.
    """
    if (match := _EPOCHS.fullmatch(text)) and 1 <= int(match[1]) <= _MOST:
        return "epochs", float(match[1])
    if is_time_span(text) and (seconds := parse_time_span(text)) >= 1.0:
        return "seconds", seconds
    raise ValueError('expected epochs from 1 to a million, or a time, as "1 epoch", "30 s", "10 min" or "1 h"')
