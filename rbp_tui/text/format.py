"""Numbers and times as people read them."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rbp_engine.report.names import method as method

BLOCKS = "▁▂▃▄▅▆▇█"
MIB, GIB = 2.0**20, 2.0**30


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage without its sign; a dash for none."""
    return "–" if fraction is None else f"{100.0 * fraction:.{digits}f}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, `−0.05`, with a proper minus."""
    return f"{100.0 * difference:+z.2f}".replace("-", "−")


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


def counted(number: int | None, what: str) -> str:
    """As `1 epoch`, `2 epochs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


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


def gib(count: float | None) -> str:
    """Bytes in GiB, under a heading with the unit; a dash for none."""
    return "–" if count is None else f"{count / GIB:.2f}"


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


def sparkline(
    values: Sequence[float | None],
    width: int,
    *,
    low: float | None = None,
    high: float | None = None,
) -> str:
    """A curve in blocks, at most `width` of them: each is the mean of its part of the values, blank if none is known.

    Equally many values give equally long curves. They are scaled from `low` to `high`, by default the lowest and
    highest that is drawn; give both for curves that are compared.
    """
    means = [_mean(part) for part in _parts(values, width)]
    known = [mean for mean in means if mean is not None]
    if not known:
        return " " * len(means)
    bottom = min(known) if low is None else low
    top = max(known) if high is None else high
    return "".join(" " if mean is None else _block(mean, bottom, top) for mean in means)


def _parts(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    columns = max(0, min(width, len(values)))
    edges = [len(values) * column // columns for column in range(columns + 1)] if columns else []
    return [values[a:b] for a, b in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


def _block(value: float, bottom: float, top: float) -> str:
    if not top > bottom:
        return BLOCKS[3]
    return BLOCKS[int(min(7.0, max(0.0, 8.0 * (value - bottom) / (top - bottom))))]
