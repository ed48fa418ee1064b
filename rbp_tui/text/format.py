"""Numbers and times as people read them."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rbp_engine.report import names

BLOCKS = "▁▂▃▄▅▆▇█"


def method(name: str) -> str:
    """A training method as the paper writes it."""
    return names.method(name)


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage without its sign; a dash for none."""
    return "–" if fraction is None else f"{100.0 * fraction:.{digits}f}"


def number(value: float | None, digits: int = 3) -> str:
    """A loss or a rate, in few characters; a dash for none."""
    if value is None:
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:.{digits}f}"


def thousands(value: float | None) -> str:
    """A large count with thin spaces, `4 812`; a dash for none."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def size(count: float | None) -> str:
    """Bytes as `7.9 GiB`; a dash for none."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1000.0:
            return f"{value:.0f} {unit}"
        value /= 1024.0
    return f"{value:.1f} GiB"


def duration(seconds: float | None) -> str:
    """A time span as `42s`, `3m07`, `5h12`, `2d03h`; a dash for none."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def sparkline(values: Sequence[float | None], width: int, *, log: bool = False) -> str:
    """A curve of `width` characters, each the mean of its part, scaled from the lowest to the highest."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if log:
        known = [math.log(max(value, 1e-12)) for value in known]
    if not known or width < 1:
        return ""
    columns = min(width, len(known))
    edges = [len(known) * column // columns for column in range(columns + 1)]
    means = [sum(known[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:
        return BLOCKS[3] * columns
    return "".join(BLOCKS[min(7, int(8 * (value - low) / (high - low)))] for value in means)
