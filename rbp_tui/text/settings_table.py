"""Settings in which two presets differ, as a table."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from rbp_engine.preset import Setting
from rbp_engine.report.names import value_text


def settings_table(settings: Iterable[Setting], here: str, there: str) -> Table:
    """One row per setting with both values; settings that do not change the result are dimmed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column(Text(here), overflow="fold")
    table.add_column(Text(there), overflow="fold")
    table.add_column("role", no_wrap=True)
    for setting in settings:
        style = "" if setting.role == "result" else "dim"
        words = (setting.key, value_text(setting.here), value_text(setting.there), setting.role)
        table.add_row(*(Text(word, style=style) for word in words))
    return table
