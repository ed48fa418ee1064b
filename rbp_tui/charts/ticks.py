"""The ticks of an axis and their labels."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from rbp_tui.charts.axis import Axis
from rbp_tui.text.format import duration

XUnit = Literal["step", "epoch", "time", "GiB"]

_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SCIENTIFIC = 1e15  # from here on powers of ten
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
)
# Ticks within a decade; the first set that is not too crowded is used.
_LOG_SETS = ((1, 2, 5), (1, 3), (1,))


def ticks(axis: Axis, most: int, unit: XUnit | None = None) -> list[float]:
    """At most `most` (2 or more) ascending round values on the axis; its ends if there are fewer than two."""
    if axis.log:
        found = _log_ticks(axis, most)
    elif unit == "time":
        found = _time_ticks(axis, most)
    else:
        found = _linear_ticks(axis, most, whole=unit == "step")
    return found if len(found) >= 2 else [axis.low, axis.high]


def _multiples(axis: Axis, step: int, divisor: int, most: int) -> list[float] | None:
    """The multiples of step / divisor on the axis; none if there are more than `most`."""
    # Rounding may move a quotient across a whole number: check one more on each side. A whole number divided once
    # gives the float that people write, 0.3; 3 * 0.1 does not.
    first, last = math.floor(axis.low * divisor / step), math.ceil(axis.high * divisor / step)
    if last - first > most + 2:
        return None
    counts = range(first, last + 1)
    found = [value for count in counts if axis.low <= (value := count * step / divisor) <= axis.high]
    return found if len(found) <= most else None


def _linear_ticks(axis: Axis, most: int, *, whole: bool = False) -> list[float]:
    exponent = math.floor(math.log10((axis.high - axis.low) / most))
    for power in range(max(exponent, 0) if whole else exponent, exponent + 3):
        for digit in (1, 2, 5):
            found = _multiples(axis, digit * 10 ** max(power, 0), 10 ** max(-power, 0), most)
            if found is not None:
                return found
    return []


def _time_ticks(axis: Axis, most: int) -> list[float]:
    if axis.high - axis.low < 2:
        return _linear_ticks(axis, most)
    for step in _TIME_STEPS:
        found = _multiples(axis, step, 1, most)
        if found is not None:
            return found
    days = _linear_ticks(Axis(axis.low / _DAY, axis.high / _DAY), most, whole=True)
    return [value for day in days if axis.low <= (value := day * _DAY) <= axis.high]


def _log_ticks(axis: Axis, most: int) -> list[float]:
    first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    for digits in _LOG_SETS:
        values = (digit * 10.0**power for power in range(first, last + 1) for digit in digits)
        found = [value for value in values if axis.low <= value <= axis.high]
        if len(found) < 2:
            # Within a decade, round values on the linear scale are more useful than a single power of ten.
            return _linear_ticks(axis, most)
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def tick_labels(values: Sequence[float], axis: Axis, unit: XUnit | None = None) -> list[str]:
    """The labels of ticks: `0.2`, `95`, `1.2k`, `1e-4`, `3h20`; on a linear axis with equal decimals."""
    if unit == "time":
        return [_time(value) for value in values]
    if axis.log and all(math.isclose(value, float(f"{value:.1g}")) for value in values):
        return [_trimmed(value) for value in values]
    largest = max(abs(value) for value in values)
    step = min(after - before for before, after in pairwise(values)) if len(values) > 1 else largest
    if not 1e-3 <= largest < _SCIENTIFIC:
        return [_scientific(value) if value else "0" for value in values]
    divisor, suffix, decimals = _unit(values, step)
    return [
        # 500 before 1.0k, not 0.5k.
        _trimmed(value) if suffix and abs(value) < divisor else _plain(value / divisor, decimals) + suffix
        for value in values
    ]


def _unit(values: Sequence[float], step: float) -> tuple[float, str, int]:
    """The largest unit that leaves at most two decimals: 95.31k, but 1205 rather than 1.205k."""
    for size, suffix in _SUFFIXES:
        if max(abs(value) for value in values) >= size:
            decimals = _decimals([value / size for value in values], step / size)
            if decimals <= 2:
                return size, suffix, decimals
    return 1.0, "", _decimals(values, step)


def _decimals(values: Sequence[float], step: float) -> int:
    """How many decimals distinguish values at distance `step`."""
    return next((n for n in range(9) if all(abs(round(value, n) - value) <= 0.01 * step for value in values)), 9)


def short(value: float) -> str:
    """A value in three significant digits: `0.214`, `95.1`, `1.23k`, `1.2e-4`; a dash for none."""
    if not math.isfinite(value):
        return "–"
    size = abs(float(f"{value:.3g}"))  # rounded first: 99.96 is 100, not 100.0
    if size >= _SCIENTIFIC or 0 < size < 1e-3:
        return _scientific(value)
    divisor, suffix = next(((limit, sign) for limit, sign in _SUFFIXES if size >= limit), (1.0, ""))
    return _plain(value / divisor, 2 - math.floor(math.log10(size / divisor))) + suffix if size else "0"


def place(value: float, unit: XUnit) -> str:
    """A position on the x axis as text: a step or an epoch in full, a time as `3h20`."""
    if unit == "time":
        return _time(value)
    if value == round(value) and abs(value) < _SCIENTIFIC:
        return f"{value:.0f}"
    return f"{value:.2f}" if 0.01 <= abs(value) < 1e6 else f"{value:.3g}"


def _time(seconds: float) -> str:
    if seconds < 0:
        return "-" + _time(-seconds)
    return duration(seconds) if seconds == round(seconds) or seconds >= 60 else f"{seconds:.3g}s"


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text if float(text) else "0"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _trimmed(value: float) -> str:
    text = short(value)
    digits = text.rstrip("kMGT")
    if "." not in digits or "e" in digits:
        return text
    return digits.rstrip("0").rstrip(".") + text[len(digits) :]
