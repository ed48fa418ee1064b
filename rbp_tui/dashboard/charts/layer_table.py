"""A table of layers that scrolls, with one layer selected."""

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from rbp_tui.charts.heatmap import DARK, LIGHT
from rbp_tui.dashboard.row_table import RowTable


class LayerTable(RowTable[Text], inherit_bindings=False):
    """Keys and clicks select a layer. Left and right are left to the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, does, show=False, id=f"layers.{name}")
        for name, key, action, does in (
            ("up", "up", "cursor_up", "the layer above"),
            ("down", "down", "cursor_down", "the layer below"),
            ("page_up", "pageup", "page_up", "a page up"),
            ("page_down", "pagedown", "page_down", "a page down"),
            ("first", "home", "scroll_top", "the first layer"),
            ("last", "end", "scroll_bottom", "the last layer"),
        )
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cursor_foreground_priority="renderable")  # numbers stand on their heat

    def watch_virtual_size(self) -> None:
        """Lay out again. If this was due before its rows were counted, Textual keeps the height without them."""
        self.call_later(self.refresh, layout=True)

    @property
    def selected(self) -> int:
        """The number of the layer under the cursor."""
        return max(0, self.cursor_row)

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours of heat in this theme; none where the terminal has few or none."""
        if self.app.native_ansi_color or self.app.no_color:
            return ()
        return DARK if self.app.current_theme.dark else LIGHT
