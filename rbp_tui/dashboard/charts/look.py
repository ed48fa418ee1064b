"""The look of a chart: its part of the stylesheet, and its styles."""

from collections.abc import Sequence

from rich.style import Style
from textual.color import Color
from textual.widget import Widget

from rbp_tui.charts.look import Look
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.series import Series

COMPONENTS = (
    "curve-chart--title",
    "curve-chart--label",
    "curve-chart--axis",
    "curve-chart--cursor",
    "curve-chart--star",
)
CSS = """
CurveChart {
    width: 1fr;
    height: 1fr;
    min-height: 1;
    & > .curve-chart--title { color: $foreground; text-style: bold; }
    & > .curve-chart--label { color: $foreground 70%; }
    & > .curve-chart--axis { color: $foreground 40%; }
    & > .curve-chart--cursor { color: $foreground 60%; }
    & > .curve-chart--star { color: $foreground; text-style: bold; }
    &:focus > .curve-chart--title { color: $accent; }
    &:focus > .curve-chart--axis { color: $accent; }
}
"""

_DIMMED = 0.45  # share of a colour that remains on stale data
_BAND = 0.22  # share of a curve's colour in the background of its band


def look(chart: Widget, series: Sequence[Series], colours: SeriesColours, *, dimmed: bool) -> Look:
    """The styles of a chart's parts, from its stylesheet, the theme and the colours of its series."""
    _, background = chart.background_colors
    dark = chart.app.current_theme.dark
    inks = [Color.parse(colours.colour(one.key, dark=dark)) for one in series]
    if dimmed:
        inks = [background.blend(ink, _DIMMED, alpha=1.0) for ink in inks]
    base = chart.rich_style
    label = chart.get_component_rich_style("curve-chart--label")
    star = chart.get_component_rich_style("curve-chart--star")
    return Look(
        base=base,
        title=chart.get_component_rich_style("curve-chart--title"),
        label=label,
        axis=chart.get_component_rich_style("curve-chart--axis"),
        cursor=chart.get_component_rich_style("curve-chart--cursor"),
        star=label if dimmed else star,
        curves=[Style(color=ink.rich_color, bgcolor=base.bgcolor) for ink in inks],
        # The colour of a terminal's own background is unknown and cannot be mixed.
        bands=[
            None if background.ansi is not None else background.blend(ink, _BAND, alpha=1.0).rich_color for ink in inks
        ],
    )
