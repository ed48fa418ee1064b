"""Parse the values in queries: accuracies, sizes, spans of time, dates. ValueErrors have a message for the user."""

import math
import re
from datetime import datetime, timedelta

from rbp_engine.guard.time_span import parse_time_span

_SIZE = re.compile(r"(?P<number>[\d.eE+-]+)\s*(?P<unit>[kmgt]?)(?P<binary>i?)b?", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_DAY = len("2026-11-24")


def number(text: str) -> float:
    """A finite number; a whole one without rounding."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number, got '{text}'")
    return int(text) if _WHOLE.fullmatch(text) else value


def accuracy(text: str) -> float:
    """A fraction from `0.9`, `90%` or `90`: a number greater than 1 can only be a percentage."""
    percentage = text.endswith("%")
    value = number(text.removesuffix("%").strip())
    fraction = value / 100.0 if percentage or value > 1.0 else value
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"expected an accuracy, as 0.9 or 90%, got '{text}'")
    return fraction


def size(text: str) -> float:
    """Bytes from `8GiB`, `8G`, `500 MB` or a plain number; K, M and G alone are binary, as in lists."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a size, as 8GiB, got '{text}'")
    decimal = match["unit"] and not match["binary"] and text[-1] in "bB"
    return number(match["number"]) * (1000.0 if decimal else 1024.0) ** " kmgt".index(match["unit"].lower() or " ")


def span(text: str) -> float:
    """The seconds in a span of time, as `90s`, `3h`, `2d` or `1d12h`."""
    try:
        return parse_time_span(text)
    except ValueError as error:
        raise ValueError(f"{error}, got '{text}'") from None


def moments(text: str) -> tuple[float, float]:
    """Beginning and end of a day or minute of local time, in seconds since the epoch."""
    try:
        begin = datetime.fromisoformat(text)
        # To the same hour of the next day, of which a change of the time makes 23 or 25; a minute is one.
        end = begin.astimezone() + timedelta(minutes=1) if len(text) > _DAY else begin + timedelta(days=1)
        return begin.timestamp(), end.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"expected a span back from now, as 2d, or a date, as 2026-11-24 or 2026-11-24T14:00, got '{text}'"
        ) from None
