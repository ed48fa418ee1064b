"""The last filter before the terminal, for text that a widget was given without one."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from rbp_engine.printable import without_controls


class PrintableFilter(LineFilter):
    """Takes out what a terminal would obey. It has no width, so that the rest of the line stays where it is."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with printable text."""
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [Segment(without_controls(text), style, control) for text, style, control in segments]
