"""What each line passes before it is drawn: "dim" text that can be read, and nothing that a terminal would obey."""

from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import blend_rgb
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color
from textual.filter import LineFilter

from rbp_engine.printable import without_controls
from rbp_tui.charts.palette import contrast

READABLE = 4.5  # the least contrast of text (WCAG 2.2, level AA)
DIMMEST = 0.62  # the share of a colour that remains, if that is readable


@lru_cache(1024)
def dimmed(text: ColorTriplet, background: ColorTriplet) -> ColorTriplet:
    """The text's colour, as close to the background as it may be and still be read."""
    for percent in range(round(100 * DIMMEST), 100, 2):
        mixed = blend_rgb(background, text, percent / 100)
        if contrast(mixed.hex, background.hex) >= READABLE:
            return mixed
    return text


class DimFilter(LineFilter):
    """Replaces "dim" by a colour. Textual's own mixes a fixed share of the background in, which may be illegible."""

    def __init__(self, words: TerminalTheme) -> None:
        """`words` has the colours of style words, as in `themes.py`."""
        super().__init__()
        self.words = words

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments without the attribute "dim"."""
        if not any(style is not None and style.dim for _, style, _ in segments):
            return segments
        return [
            Segment(text, self._style(style, background.rich_color) if style and style.dim else style, control)
            for text, style, control in segments
        ]

    @lru_cache(1024)  # noqa: B019  # there are two filters, and they live as long as the application
    def _style(self, style: Style, behind: RichColor) -> Style:
        text = (style.color or RichColor.default()).get_truecolor(self.words)
        background = (style.bgcolor or behind).get_truecolor(self.words, foreground=False)
        if style.reverse:
            background = dimmed(background, text)
        else:
            text = dimmed(text, background)
        mixed = Style.from_color(RichColor.from_triplet(text), RichColor.from_triplet(background))
        return style + mixed + Style(dim=False)


class PrintableFilter(LineFilter):
    """Takes out what a terminal would obey, for text that a widget was given without a filter.

    It has no width, so that the rest of the line stays where it is.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with printable text."""
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [Segment(without_controls(text), style, control) for text, style, control in segments]
