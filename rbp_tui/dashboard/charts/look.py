"""The look of a chart: its part of the stylesheet, and its styles."""

from collections.abc import Sequence

from rich.style import Style
from textual.color import Color
from textual.widget import Widget

from rbp_tui.charts.look import Look
from rbp_tui.charts.palette import SeriesColours, contrast
from rbp_tui.charts.series import Series

COMPONENTS = (
    "curve-chart--title",
    "curve-chart--label",
    "curve-chart--axis",
    "curve-chart--grid",
    "curve-chart--mark",
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
    & > .curve-chart--axis { color: $foreground 55%; }
    & > .curve-chart--grid { color: $foreground 22%; }
    & > .curve-chart--mark { color: $foreground 55%; }
    & > .curve-chart--cursor { color: $foreground 60%; }
    & > .curve-chart--star { color: $foreground; text-style: bold; }
    &:focus > .curve-chart--title { color: $accent; }
    &:focus > .curve-chart--axis { color: $accent; }
}
"""

# How much of a colour is left on stale data and behind lines: the least of these that is still seen well.
_SHARES, _SEEN_WELL = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 3.0


def look(chart: Widget, series: Sequence[Series], colours: SeriesColours, *, dimmed: bool) -> Look:
    """The styles of a chart's parts, from its stylesheet, the theme and the colours of its series."""
    _, background = chart.background_colors
    few, dark = chart.app.native_ansi_color, chart.app.current_theme.dark
    inks = [Color.parse(f"{'ansi_' * few}{colours.colour(one.key, dark=dark, few=few)}") for one in series]
    if dimmed:
        inks = [_faded(ink, background) for ink in inks]
    base = chart.rich_style
    label = chart.get_component_rich_style("curve-chart--label")
    star = chart.get_component_rich_style("curve-chart--star")
    # The colour of a terminal's own background is unknown and cannot be mixed.
    faint = inks if background.ansi is not None else [_faded(ink, background) for ink in inks]
    return Look(
        base=base,
        title=chart.get_component_rich_style("curve-chart--title"),
        label=label,
        axis=chart.get_component_rich_style("curve-chart--axis"),
        grid=chart.get_component_rich_style("curve-chart--grid"),
        mark=chart.get_component_rich_style("curve-chart--mark"),
        cursor=chart.get_component_rich_style("curve-chart--cursor"),
        star=label if dimmed else star,
        curves=[Style(color=ink.rich_color, bgcolor=base.bgcolor) for ink in inks],
        dims=[Style(color=ink.rich_color, bgcolor=base.bgcolor) for ink in faint],
        strokes=[colours.stroke(one.key, few=few) for one in series],
    )


def _faded(ink: Color, background: Color) -> Color:
    mixed = [background.blend(ink, share, alpha=1.0) for share in _SHARES]
    return next((one for one in mixed if contrast(one.hex6, background.hex6) >= _SEEN_WELL), ink)
