"""The styles of a chart's parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style


@dataclass(frozen=True)
class Look:
    """Styles of a chart's parts, all with the background set.

    `curves`, `dims` and `strokes` have one for each curve: its colour, the fainter one of its single values behind a
    smoothed line and of its band, and which of the palette's STROKES it has.
    """

    base: Style
    title: Style
    label: Style
    axis: Style
    grid: Style
    mark: Style
    cursor: Style
    star: Style
    curves: Sequence[Style]
    dims: Sequence[Style]
    strokes: Sequence[int]
