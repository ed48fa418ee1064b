"""How series look different: eight colours, then dashes; both at once on a terminal of sixteen colours.

The colours are Okabe and Ito's, adapted to be visible on a dark and on a light background. Each has a contrast of 3 or
more with the background; any two differ for normal, red-blind and green-blind eyes.
"""

DARK = ("#41bcfe", "#e8a927", "#18b589", "#b867b9", "#f0e442", "#e2602a", "#8084fe", "#c8ced5")
LIGHT = ("#0075b5", "#b56e00", "#076b58", "#c13087", "#934605", "#840013", "#583eea", "#3a414b")

#: Of a terminal that has sixteen: those that look different, each with another stroke too.
SIXTEEN = ("cyan", "yellow", "green", "magenta", "red", "blue")

# Strokes, drawn and not drawn, in dots along x; the first is a whole line.
STROKES = ((1, 0), (5, 3), (1, 2))


class SeriesColours:
    """Assigns each key the next free colour and stroke for good. Charts that show the same series share one."""

    def __init__(self) -> None:
        self._indices: dict[str, int] = {}

    def index(self, key: str) -> int:
        """The number of a key, in the order in which keys were first seen."""
        return self._indices.setdefault(key, len(self._indices))

    def colour(self, key: str, *, dark: bool, few: bool = False) -> str:
        """The colour of a key, on a terminal of `few` by its name. More than eight keys share colours in turn."""
        colours = SIXTEEN if few else DARK if dark else LIGHT
        return colours[self.index(key) % len(colours)]

    def stroke(self, key: str, *, few: bool = False) -> int:
        """Which of STROKES a key has: whole lines for the first eight, then dashed, then dotted ones; of few colours
        the next one for each."""
        index = self.index(key)
        return (index + index // len(SIXTEEN) if few else index // len(DARK)) % len(STROKES)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours like `#41bcfe`, from 1 to 21, as WCAG defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
