"""Spans of time as users write them, in presets and in queries: `90 s`, `30min`, `30m`, `4h`, `1d12h`."""

import re
from typing import Final, Literal

_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(min|[smhdw])", re.ASCII | re.IGNORECASE)
_SPAN: Final = re.compile(rf"(?:{_PART.pattern} ?)*{_PART.pattern}", re.ASCII | re.IGNORECASE)


def is_time_span(text: str) -> bool:
    """Whether a text is one number with a unit, or several."""
    return _SPAN.fullmatch(text) is not None


def parse_time_span(text: str) -> float:
    """The seconds in a span of time. Raises ValueError for anything else."""
    if not is_time_span(text):
        raise ValueError("expected a span of time, as 90s, 30m, 3h, 2d or 1w")
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _PART.findall(text))


def doubled(text: str) -> str:
    """A span that is twice as long, in the same units and without spaces."""
    parse_time_span(text)
    return "".join(f"{2 * float(number):.10g}{unit}" for number, unit in _PART.findall(text))


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
