"""List all presets that can be named."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.preset.load import load_document
from rbp_engine.preset.search import preset_files, search_folders
from rbp_engine.settings.documents import Document, read_document
from rbp_engine.settings.problems import PresetError, Problem

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


@dataclass(frozen=True)
class PresetEntry:
    """A preset in the list; `group` is its data set ("" if unreadable).

    A broken one has `problems` and no `preset`.
    """

    name: str
    path: Path
    title: str
    group: str
    problems: tuple[Problem, ...]
    preset: "Preset | None" = None

    @property
    def problem_count(self) -> int:
        """The number of problems of the preset; 0 means that it can be trained."""
        return len(self.problems)


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
    document = read_document(path)
    if isinstance(document, Problem):
        return PresetEntry(path.stem, path.absolute(), "", "", (document,))
    try:
        loaded = load_document(document)
    except PresetError as error:
        title, group = _guess(document)
        return PresetEntry(path.stem, path.absolute(), title, group, error.problems)
    return PresetEntry(loaded.name, loaded.path, loaded.preset.title, loaded.preset.data.name, (), loaded.preset)


def _guess(document: Document) -> tuple[str, str]:
    """Title and data set of a broken preset, if they are there."""
    title, data = document.values.get("title"), document.values.get("data")
    group = data.get("name") if isinstance(data, dict) else None
    return title if isinstance(title, str) else "", group if isinstance(group, str) else ""
