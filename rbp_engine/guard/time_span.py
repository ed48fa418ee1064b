"""Spans of time in presets, as `guard.max_time` has one."""

import re

_SPAN = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?(s|min|h|d)")
#: The units of time in presets.
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_time_span(text: str) -> float:
    """The seconds in `"90 s"`, `"30 min"`, `"4h"`, `"1.5 d"`. Raises ValueError for anything else, and for 0."""
    found = _SPAN.fullmatch(text)
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise ValueError('expected a number with a unit, as "90 s", "30 min", "4h" or "1.5 d"')
    return seconds


def doubled(text: str) -> str:
    """A span that is twice as long, in the same unit and without a space."""
    parse_time_span(text)
    amount, unit = _SPAN.fullmatch(text).groups()  # type: ignore[union-attr]  # it has just been parsed
    return f"{2 * float(amount):.10g}{unit}"
