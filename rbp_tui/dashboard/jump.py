"""Jump: a letter on everything that can take the focus; the letter goes there."""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from rbp_tui.dashboard.answered import Dialog


def places(screen: Screen[object]) -> list[Widget]:
    """What can take the focus and is visible, by rows from the top left."""
    seen = [widget for widget in screen.focus_chain if widget.region.area and screen.region.overlaps(widget.region)]
    return sorted(seen, key=lambda widget: (widget.region.y, widget.region.x))[: len(ascii_lowercase)]


class Jump(Dialog[Widget | None]):
    """Returns the chosen widget; None for any other key."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "back", id="jump.back")]

    def __init__(self, widgets: Sequence[Widget]) -> None:
        super().__init__()
        self.widgets = dict(zip(ascii_lowercase, widgets, strict=False))

    def compose(self) -> ComposeResult:
        for letter, widget in self.widgets.items():
            sign = Static(f" {letter} ", classes="jump", markup=False)
            sign.styles.offset = widget.region.offset
            yield sign

    def on_key(self, event: events.Key) -> None:
        """Go where the letter says."""
        if event.key != "escape":
            event.stop()
            self.dismiss(self.widgets.get(event.key))

    def on_click(self, event: events.Click) -> None:
        """A click chooses what it hits, or nothing."""
        hit = (widget for widget in self.widgets.values() if widget.region.contains(*event.screen_offset))
        self.dismiss(next(hit, None))
