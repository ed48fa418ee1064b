"""A table of layers that scrolls, with one layer selected."""

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rbp_tui.charts.heatmap import DARK, LIGHT
from rbp_tui.charts.layer_rows import LayerRows

MARGIN = 1
HEAD = 2  # rows that stay


class LayerTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows `LayerRows`; the heading stays while the rows scroll. Keys and clicks select a layer."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "layer-table--title",
        "layer-table--selected",
        "layer-table--selected-elsewhere",
    }
    DEFAULT_CSS = """
    LayerTable {
        height: auto;
        & > .layer-table--title { color: $foreground; text-style: bold; }
        &:focus > .layer-table--title { color: $accent; }
        & > .layer-table--selected {
            background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
        }
        & > .layer-table--selected-elsewhere {
            background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"select({by!r})", does, show=False, id=f"layers.{name}")
        for name, key, by, does in (
            ("up", "up", -1, "the layer above"),
            ("down", "down", 1, "the layer below"),
            ("page_up", "pageup", "-page", "a page up"),
            ("page_down", "pagedown", "page", "a page down"),
            ("first", "home", "first", "the first layer"),
            ("last", "end", "last", "the last layer"),
        )
    ]

    @dataclass
    class Chosen(Message):
        """Another layer was selected, by its number."""

        table: "LayerTable"
        layer: int

        @property
        def control(self) -> "LayerTable":
            """The table."""
            return self.table

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self.rows = LayerRows("", ())
        self.selected = 0
        self._drawn: dict[tuple[int, int, bool, bool], Strip] = {}

    def show(self, rows: LayerRows) -> None:
        """Show these rows; the layer of the same number stays selected."""
        self.rows = rows
        self.selected = max(0, min(self.selected, len(rows) - 1))
        self._drawn.clear()
        size = Size(0, len(rows) + HEAD)
        if size.height != self.virtual_size.height:
            self.virtual_size = size
        self.refresh()

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours of heat in this theme; none where the terminal has few or none."""
        if self.app.native_ansi_color or self.app.no_color:
            return ()
        return DARK if self.app.current_theme.dark else LIGHT

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn.clear()

    def render_line(self, y: int) -> Strip:
        """The title, the headings, or a layer."""
        row = y - HEAD + (int(self.scroll_offset.y) if y >= HEAD else 0)
        width = self.scrollable_content_region.width
        if row >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        key = (row, width, row == self.selected, self.has_focus)
        if key not in self._drawn:
            self._drawn[key] = self._strip(row, width)
        return self._drawn[key]

    def _strip(self, row: int, width: int) -> Strip:
        room, style = width - 2 * MARGIN, self.rich_style
        if row == -HEAD:
            text = self.rows.caption(room, self.colours, self.get_component_rich_style("layer-table--title"))
        elif row < 0:
            text = self.rows.head(room)
        else:
            text = self.rows.row(row, room, self.colours)
        if row == self.selected:
            style = self.get_component_rich_style(f"layer-table--selected{'' if self.has_focus else '-elsewhere'}")
        text = Text.assemble(" " * MARGIN, text)
        text.truncate(width, pad=True)
        text.end = ""
        return Strip(Segment.apply_style(text.render(self.app.console), style), width)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_select(self, by: int | str) -> None:
        """Select the layer that many rows below, a page away, or at an end."""
        page = max(1, self.scrollable_content_region.height - HEAD - 1)
        steps = {"page": page, "-page": -page, "first": -len(self.rows), "last": len(self.rows)}
        self.choose(self.selected + (by if isinstance(by, int) else steps[by]))

    def choose(self, layer: int) -> None:
        """Select a layer, and scroll to it."""
        layer = max(0, min(layer, len(self.rows) - 1))
        if layer == self.selected or not len(self.rows):
            return
        self.selected = layer
        self.refresh()
        # What stays covers the first rows of what is visible.
        self.scroll_to_region(Region(0, layer, 1, HEAD + 1), animate=False, force=True)
        self.post_message(self.Chosen(self, layer))

    def on_click(self, event: events.Click) -> None:
        """Select the layer at the pointer."""
        if event.y >= HEAD:
            self.choose(event.y - HEAD + int(self.scroll_offset.y))
