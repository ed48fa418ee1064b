"""Settings in which two presets differ, as a table."""

from collections.abc import Iterable

from rich.table import Column, Table
from rich.text import Text

from rbp_engine.preset import Setting
from rbp_engine.report.names import value_text
from rbp_tui.text.table import empty_table


def settings_table(settings: Iterable[Setting], here: str, there: str) -> Table:
    """One row per setting with both values; settings that do not change the result are dimmed."""
    values = [Column(Text(name), overflow="fold") for name in (here, there)]
    table = empty_table(["setting", *values, "role"])
    for setting in settings:
        style = "" if setting.role == "result" else "dim"
        words = (setting.key, value_text(setting.here), value_text(setting.there), setting.role)
        table.add_row(*(Text(word, style=style) for word in words))
    return table
