"""The styles of a chart's parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.color import Color
from rich.style import Style


@dataclass(frozen=True)
class Look:
    """Styles of a chart's parts, all with the background set."""

    base: Style
    title: Style
    label: Style
    axis: Style
    cursor: Style
    star: Style
    curves: Sequence[Style]
    bands: Sequence[Color | None]  # backgrounds
