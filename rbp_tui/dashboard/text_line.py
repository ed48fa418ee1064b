"""Texts that are redrawn only when they change."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static


class Line(Static):
    """Text of one row, or of several with `wraps`; never markup."""

    def __init__(self, id: str | None = None, *, wraps: bool = False) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, markup=False)
        self.auto_links = False  # what can be clicked keeps the style that it was given
        self.wraps = wraps
        self.shown = Text()

    def show_text(self, text: Text) -> None:
        """Show this text. Laying out the screen is slow, so it is done only if the height may change."""
        if text != self.shown:
            layout = self.wraps and _shape(text) != _shape(self.shown)
            self.shown = text
            text.no_wrap = not self.wraps
            self.update(text, layout=layout)

    def show_or_hide(self, text: Text) -> None:
        """Show this text, and take no room while it is empty: by a class, since what hides more hides it as well."""
        self.set_class(not text, "-empty")
        self.show_text(text)


def _shape(text: Text) -> list[int]:
    return [len(row) for row in text.plain.split("\n")]


class TextPanel(VerticalScroll):
    """A scrollable text of many rows."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self._line = Line(wraps=True)

    def compose(self) -> ComposeResult:
        yield self._line

    def show_text(self, text: Text) -> None:
        """Show this text, also before the panel is on the screen."""
        self._line.show_text(text)
