"""A text that is drawn again only when it says something else."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static


class Line(Static):
    """Text of one row, or of several with `wraps`. Nothing in it is markup."""

    def __init__(self, id: str | None = None, *, wraps: bool = False) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, markup=False)
        self.wraps = wraps
        self.said = Text()

    def say(self, text: Text) -> None:
        """Show this text. Laying out the screen takes long, and is only done where the height may change."""
        if text != self.said:
            layout = self.wraps and _shape(text) != _shape(self.said)
            self.said = text
            text.no_wrap = not self.wraps
            self.update(text, layout=layout)

    def say_or_hide(self, text: Text) -> None:
        """Show this text, and take no room while it is empty."""
        self.display = bool(text)
        self.say(text)


def _shape(text: Text) -> list[int]:
    return [len(row) for row in text.plain.split("\n")]


class TextPanel(VerticalScroll):
    """A text of many rows that can be scrolled."""

    def compose(self) -> ComposeResult:
        yield Line(wraps=True)

    def say(self, text: Text) -> None:
        """Show this text."""
        self.query_one(Line).say(text)
