"""Cells of a heatmap: the deeper the colour, the higher the value; blocks where there are few colours or none."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rich.color import Color, blend_rgb
from rich.style import Style
from rich.text import Text

from rbp_tui.charts.palette import contrast
from rbp_tui.text.format import BLOCKS

# From nothing, which is close to the background, to the top of the scale, which stands out most from it. The lightness
# alone tells the values apart, so that colour-blind eyes can read it, too.
DARK = ("#1b2430", "#1d3f72", "#1f6fa8", "#2ba3b5", "#74cfae", "#d3efb0", "#fdfbd0")
LIGHT = ("#f1efe6", "#d5ebc4", "#8fd0b9", "#41a9bd", "#2272ab", "#243f88", "#0d1c4f")
WRITTEN = ("#000000", "#ffffff")  # on a colour, whichever is read better
TOPS = (1, 2, 3, 5)
LOWEST_TOP, HIGHEST_TOP = 1e-4, 1e6
LEVELS = 64
NUMBER = 4  # cells from which on a value is written on its colour


@dataclass(frozen=True)
class HeatScale:
    """Draws shares from 0 to `top` in these colours; without any, for a terminal of few, blocks tell the values."""

    top: float
    colours: tuple[str, ...] = ()

    def style(self, value: float) -> Style:
        """The background of a value, and the colour of what is written on it."""
        # The root tells small rates apart, at which layers hardly pass on anything.
        return _ink(self.colours, round(LEVELS * math.sqrt(self._share(value))))

    def block(self, value: float) -> str:
        """The height of a value as one of eight blocks; a dot for nothing."""
        return BLOCKS[min(7, int(8 * self._share(value)))] if value > 0 else "·"

    def _share(self, value: float) -> float:
        return min(1.0, max(0.0, value / self.top))

    def cells(self, values: Sequence[float], width: int) -> Text:
        """A row of values, each `width` cells wide; those that are not known are blank."""
        row = Text()
        for value in values:
            if not math.isfinite(value):
                row.append(" " * width)
            elif self.colours:
                row.append(_written(value, width), self.style(value))
            elif width > NUMBER:
                row.append(f"{_written(value, width - 1)}{self.block(value)}")
            else:
                row.append(self.block(value) * width)
        return row


def round_top(highest: float) -> float:
    """The end of a scale for values up to `highest`: 1, 2, 3 or 5 of a power of ten, so that it seldom changes."""
    if not LOWEST_TOP < highest < HIGHEST_TOP:
        return min(max(highest, LOWEST_TOP), HIGHEST_TOP) if highest > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    tops = [top * scale for scale in (power, 10 * power) for top in TOPS]
    return tops[bisect_left(tops, highest * (1 - 1e-9))]


@lru_cache(2 * (LEVELS + 1))
def _ink(colours: tuple[str, ...], level: int) -> Style:
    share = level / LEVELS * (len(colours) - 1)
    first = min(int(share), len(colours) - 2)
    low, high = (Color.parse(colours[at]).get_truecolor() for at in (first, first + 1))
    mixed = blend_rgb(low, high, share - first)
    written = max(WRITTEN, key=lambda ink: contrast(ink, mixed.hex))
    return Style(color=written, bgcolor=Color.from_triplet(mixed))


def _written(value: float, width: int) -> str:
    """A share in per cent, if there is room for it."""
    percent = 100 * value
    text = f"{percent:.0f}" if percent >= 9.95 or percent == 0 else f"{percent:.1f}"
    return f"{text:>{width - 1}} " if len(text) < width >= NUMBER else " " * width
