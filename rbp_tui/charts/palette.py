"""Colours of series: Okabe and Ito's, adapted to be visible on a dark and on a light background.

Each has a contrast of 3 or more with the background; any two differ for normal, red-blind and green-blind eyes.
"""

DARK = ("#41bcfe", "#e8a927", "#18b589", "#b867b9", "#f0e442", "#e2602a", "#8084fe", "#c8ced5")
LIGHT = ("#0075b5", "#b56e00", "#076b58", "#c13087", "#934605", "#840013", "#583eea", "#3a414b")


class SeriesColours:
    """Assigns each key the next free colour for good. Charts that show the same series share one."""

    def __init__(self) -> None:
        self._indices: dict[str, int] = {}

    def index(self, key: str) -> int:
        """The number of a key, in the order in which keys were first seen."""
        return self._indices.setdefault(key, len(self._indices))

    def colour(self, key: str, *, dark: bool) -> str:
        """The colour of a key. More than eight keys share colours in turn."""
        colours = DARK if dark else LIGHT
        return colours[self.index(key) % len(colours)]
