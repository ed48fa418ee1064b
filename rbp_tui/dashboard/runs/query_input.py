"""The filter of the Runs screen, with the queries that were used before."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

MOST_QUERIES = 50


class QueryInput(Input):
    """A line for a query; up and down go through `history`, which has the newest last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "earlier", "earlier query", id="query.earlier", show=False),
        Binding("down", "later", "later query", id="query.later", show=False),
    ]

    def __init__(self, history: list[str], placeholder: str, name: str) -> None:
        super().__init__(placeholder=placeholder, compact=True, id=name)
        self.history = history
        self._place = len(history)  # in the history; its end is the line that is being written
        self._written = ""

    def remember(self) -> None:
        """Add the query to the history, and begin at its end again."""
        query = self.value.strip()
        if query:
            self.history[:] = [*(other for other in self.history if other != query), query][-MOST_QUERIES:]
        self._place = len(self.history)

    def action_earlier(self) -> None:
        """Show the query that was used before this one."""
        self._show(self._place - 1)

    def action_later(self) -> None:
        """Show the query that was used after this one."""
        self._show(self._place + 1)

    def _show(self, place: int) -> None:
        place = min(place, len(self.history))
        if place < 0 or place == self._place:
            return
        if self._place == len(self.history):
            self._written = self.value
        self._place = place
        self.value = self.history[place] if place < len(self.history) else self._written
        self.cursor_position = len(self.value)
