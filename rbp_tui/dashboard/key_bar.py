"""The bottom row: the keys of the focused pane, then the screen's, and how to get help and out."""

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea

from rbp_tui.dashboard.text_line import Line

#: The keys of a chart in few words; each row by the names of its keys.
CHART_KEYS = (
    (("chart.cursor_left", "chart.cursor_right"), "cursor"),
    (("chart.zoom_in", "chart.zoom_out"), "zoom"),
    (("chart.smooth_less", "chart.smooth_more"), "smooth"),
    (("chart.log_y",), "log"),
    (("chart.reset",), "all"),
)
#: So many of them come before the screen's own keys, the rest after.
FEW = 2
#: Always there, at the end.
ALWAYS = ("help", "leave")
#: Instead of them, while what is typed goes into a field.
WHILE_TYPING = ("help.pane",)
#: Keys that work while the user types into a field.
_NOT_TYPED = re.compile(r"(ctrl|alt|shift)\+.+|escape|enter|tab|f\d+|up|down|pageup|pagedown")


def is_typing(widget: Widget | None) -> bool:
    """Whether letters go into this widget."""
    return isinstance(widget, Input) or (isinstance(widget, TextArea) and not widget.read_only)


class KeyBar(Line):
    """One row, never wrapped: keys that do not fit are left out, the screen's last ones first. Each can be clicked."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._show)

    def on_resize(self) -> None:
        self._show(self.screen)

    def _show(self, screen: Screen[object]) -> None:
        if self.is_attached and screen is self.screen:
            self.show_text(self._text(screen))

    def _text(self, screen: Screen[object]) -> Text:
        active = [one for one in screen.active_bindings.values() if one.enabled and one.binding.id]
        if typing := is_typing(screen.focused):
            active = [one for one in active if _NOT_TYPED.fullmatch(one.binding.key)]
        # Those of the pane come first. Of several keys for an action, the first is shown.
        bindings = {one.binding.id or "": one.binding for one in reversed(active)}
        always = WHILE_TYPING if typing else ALWAYS
        shown = [one.binding.id or "" for one in active if one.binding.show and one.binding.id not in always]
        chart = [
            self._key([bindings[name] for name in names], does)
            for names, does in CHART_KEYS
            if all(name in bindings for name in names)
        ]
        own = [self._key([bindings[name]], bindings[name].description) for name in dict.fromkeys(shown)]
        few = FEW if own else len(chart)
        keys = [*chart[:few], *own, *chart[few:]]
        last = [self._key([bindings[name]], bindings[name].description) for name in always if name in bindings]
        return _fitting(keys, last, self.size.width - 2)

    def _key(self, bindings: Sequence[Binding], does: str) -> Text:
        """One entry; a click on a key, or on what it does, presses it."""
        text = Text()
        for binding in bindings:
            press = {"@click": f"app.simulate_key({binding.key!r})"}
            text.append(self.app.get_key_display(binding), Style(bold=True, meta=press))
        press = {"@click": f"app.simulate_key({bindings[0].key!r})"}
        return text.append(f" {does}", Style(dim=True, meta=press))


def _fitting(keys: Sequence[Text], last: Sequence[Text], width: int) -> Text:
    """As many of `keys` as fit with `last`, two cells apart."""
    room = width - sum(cell_len(text.plain) + 2 for text in last)
    row = []
    for text in keys:
        room -= cell_len(text.plain) + 2
        if room < -2:
            break
        row.append(text)
    return Text(" ").append_text(Text("  ").join([*row, *last]))
