"""The differences between a preset and its parent."""

from rich.console import RenderableType
from rich.text import Text

from rbp_engine.preset import LoadedPreset, PresetError, against_parent
from rbp_tui.text.setting_words import settings_table


def changes_of(loaded: LoadedPreset, heading: str) -> tuple[str, RenderableType]:
    """The name of the parent, empty if unknown, and a table of the differences, under `heading`."""
    try:
        parent, found = against_parent(loaded)
    except PresetError as error:  # an error of the parent alone, which may be corrected here
        return "", Text(str(error), style="red")
    same = Text(f"the same settings as {parent}", style="dim")
    return parent, settings_table(found, heading, parent) if found else same
