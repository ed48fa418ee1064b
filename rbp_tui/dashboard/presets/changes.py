"""What a preset changes of the one that it extends."""

from rich.console import RenderableType
from rich.text import Text

from rbp_engine.preset import LoadedPreset, PresetError, against_parent
from rbp_tui.text.settings_table import settings_table


def changes_of(loaded: LoadedPreset, heading: str, text: str | None = None) -> tuple[str, RenderableType]:
    """The name of the parent, empty if it cannot be told, and a table of what differs, under `heading`.

    `text` is what the preset was loaded from where its file holds another one.
    """
    try:
        parent, found = against_parent(loaded, text)
    except PresetError as error:  # of the parent alone: what is wrong with it may be mended here
        return "", Text(str(error), style="red")
    same = Text(f"the same settings as {parent}", style="dim")
    return parent, settings_table(found, heading, parent) if found else same
