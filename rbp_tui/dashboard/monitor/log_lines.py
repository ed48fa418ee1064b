"""Lines of a log, with search matches highlighted."""

from collections.abc import Sequence

from rich.highlighter import Highlighter
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widgets import Log

LINES_KEPT = 2000
FOUND = Style(reverse=True)
CURRENT = Style(bold=True, underline=True)


class _Marker(Highlighter):
    """Highlights every occurrence of a text, ignoring case."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted

    def highlight(self, text: Text) -> None:
        if self.wanted:
            text.highlight_words([self.wanted], FOUND, case_sensitive=False)


class LogLines(Log):
    """The newest lines. `find` moves between matches; the view follows the end unless it is scrolled up."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, max_lines=LINES_KEPT, highlight=True)
        self.highlighter = _Marker("")
        self.wanted = ""
        self.current: int | None = None  # the line where the last search ended

    def empty(self) -> None:
        """Remove all lines, and follow the end of the next ones."""
        self.current = None
        self.clear()
        self.anchor()
        self.refresh()

    def add(self, lines: Sequence[str]) -> None:
        """Append lines; the oldest are dropped if there are too many."""
        if not lines:
            return
        gone = max(0, self.line_count + len(lines) - LINES_KEPT)
        self.write_lines(line or " " for line in lines)
        if self.current is not None and gone:
            self.current = self.current - gone if self.current >= gone else None

    def look_for(self, wanted: str) -> None:
        """Highlight a text; an empty one highlights nothing."""
        self.wanted = wanted
        self.current = None
        self.highlighter = _Marker(wanted)
        self.refresh()

    def find(self, wanted: str) -> bool:
        """Go to the previous line that contains it, wrapping around; returns whether there is one."""
        places = self._places(wanted)
        if not places:
            return False
        before = [place for place in places if self.current is None or place < self.current]
        self.current = (before or places)[-1]
        self.scroll_to(0, max(0, self.current - self.size.height // 3), animate=False)
        self.refresh()
        return True

    def found(self) -> str:
        """The position of the search among its matching lines, as `3/17`."""
        places = self._places(self.wanted)
        if not places:
            return "not found"
        return f"{places.index(self.current) + 1}/{len(places)}" if self.current in places else f"{len(places)} lines"

    def _places(self, wanted: str) -> list[int]:
        text = wanted.lower()
        return [number for number, line in enumerate(self.lines) if text in line.lower()]

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip.apply_style(CURRENT) if self.scroll_offset.y + y == self.current else strip
