"""List all presets that can be named."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.preset.load import load_preset
from rbp_engine.preset.search import preset_files, search_folders
from rbp_engine.settings.problems import PresetError, Problem

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


@dataclass(frozen=True)
class PresetEntry:
    """A preset in the list; `group` is its data set. Of a broken one only the name and its `problems` are known."""

    name: str
    path: Path
    title: str
    group: str
    problems: tuple[Problem, ...]
    preset: "Preset | None" = None


def list_presets() -> list[PresetEntry]:
    """Every preset of the search order, by data set and name.

    Of two presets with the same name only the first is listed, since the name refers to it. A broken preset is listed
    with its problems; nothing is raised.
    """
    first: dict[str, Path] = {}
    for folder in search_folders():
        for path in preset_files(folder.path):
            first.setdefault(path.stem, path)
    return sorted((_entry(path) for path in first.values()), key=lambda entry: (entry.group, entry.name))


def _entry(path: Path) -> PresetEntry:
    try:
        loaded = load_preset(str(path))
    except PresetError as error:
        return PresetEntry(path.stem, path.absolute(), "", "", error.problems)
    return PresetEntry(loaded.name, loaded.path, loaded.preset.title, loaded.preset.data.name, (), loaded.preset)
