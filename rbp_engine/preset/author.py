"""New preset files: an own name, the preset they begin from, and only what differs from it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.preset.diff import differences
from rbp_engine.preset.load import LoadedPreset, load_preset, load_text, parent_of
from rbp_engine.preset.own_code import own_file
from rbp_engine.preset.resolved import toml_item
from rbp_engine.preset.search import bundled_folder, find_by_name, is_path, shown
from rbp_engine.settings.documents import parse_document, read_text
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import PresetError, Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def place_of(name: str, *, for_user: bool = False) -> Path:
    """Where a new preset of that name goes: ./presets, or the user's own presets; a path is taken as it is.

    Raises `PresetError` for what cannot be a name.
    """
    if is_path(name):
        return Path(name if name.endswith(".toml") else f"{name}.toml")
    if NAME.fullmatch(name) is None:
        raise PresetError(name, [Problem("", "cannot be the name of a preset: use letters, digits, '.', '_' and '-'")])
    folder = configuration_directory() / "presets" if for_user else Path("presets")
    return folder / f"{name}.toml"


def create_preset(target: Path, source: str | None = None, words: Sequence[str] = ()) -> LoadedPreset:
    """Write a preset that extends `source`, a name or path, by `key=value` words; without one, the defaults.

    Only what differs is written. Nothing is written where anything is wrong; raises `PresetError`, for a file that
    exists, too.
    """
    if os.path.lexists(target):
        raise PresetError(shown(target), [Problem("", "exists already; choose another name, or edit it")])
    base = load_text("", target) if source is None else load_preset(source)
    changed = load_text("", target, words) if source is None else load_preset(source, words)
    text = _text(target, base, changed, source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)  # first: a path as ../nets.py leads nowhere from no folder
        loaded = load_text(text, target)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PresetError(shown(target), [Problem("", f"cannot be written: {error.strerror}")]) from error
    return loaded


def copy_preset(target: Path, path: Path, *, code: Path | None = None, note: str = "") -> None:
    """Write a copy of the preset `path`, comments and all, its relative paths made to lead where they did.

    `code` is the folder that its own code is named from where that is not its own, `note` a comment for the first
    line. Raises `PresetError` for a file that exists, and for a preset that cannot be read.
    """
    if os.path.lexists(target):
        raise PresetError(shown(target), [Problem("", "exists already; choose another name, or edit it")])
    text = read_text(path)
    if isinstance(text, Problem):
        raise PresetError(shown(path), [text])
    text = (f"# {note}\n" if note else "") + moved_text(text, path, target, code=code)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise PresetError(shown(target), [Problem("", f"cannot be written: {error.strerror}")]) from error


def moved_text(text: str, path: Path, target: Path, *, code: Path | None = None) -> str:
    """The text of the preset `path` as it must read in the file `target`, for the same parent and own code.

    `code` is the folder that its own code is named from where that is not its own. A text that is no TOML stays as
    it is. Raises `PresetError` where the parent is missing, or has the name of the copy.
    """
    document = parse_document(text, path)
    if isinstance(document, Problem):
        return text
    moved: dict[tuple[str, ...], str] = {}
    parent = parent_of(path, text)
    if parent is not None:
        moved[("extends",)] = _extends(target, parent, document.values["extends"])
    for section in ("model", "data"):
        values = document.values.get(section)
        name = str(values.get("name", "")) if isinstance(values, dict) else ""
        file = own_file(name)
        if file is not None and not Path(file).expanduser().is_absolute():
            moved[(section, "name")] = _relative((code or path.parent) / file, target) + name.removeprefix(file)
    import tomlkit

    content: Any = tomlkit.parse(text)
    changed = False
    for (*tables, key), value in moved.items():
        place = content[tables[0]] if tables else content
        if place[key] != value:
            place[key], changed = value, True
    return tomlkit.dumps(content) if changed else text


def comes_with_rbp(path: Path) -> bool:
    """Whether a preset is one of the bundled ones, which an update would write over; a checkout's own are not."""
    folder = os.path.realpath(path.parent)
    return folder == os.path.realpath(bundled_folder()) != os.path.realpath("presets")


def draft_of(target: Path) -> Path:
    """Where an edit of a preset is kept until it is good; lists of presets pass over it."""
    return target.with_name(f".{target.stem}.draft.toml")


def _text(target: Path, base: LoadedPreset, changed: LoadedPreset, source: str | None) -> str:
    import tomlkit

    document = tomlkit.document()
    what = "the defaults" if source is None else base.name
    document.add(tomlkit.comment(f"Only what differs from {what}; rbp presets schema explains every setting."))
    document.add("title", tomlkit.item(f"{target.stem}, from {base.name}" if source else target.stem))
    if source is not None:
        document.add("extends", tomlkit.item(_extends(target, base.path, source)))
    sections: dict[str, Any] = {}
    for setting in differences(changed.preset, base.preset):
        section, _, name = setting.key.partition(".")
        value = setting.here
        if setting.key in changed.own_code:  # given from here, but read from where the preset lies
            value = f"{_relative(changed.own_code[setting.key].path, target)}:{value.rpartition(':')[2]}"
        sections.setdefault(section, tomlkit.table()).add(name, toml_item(value))
    for section, table in sections.items():
        document.add(tomlkit.nl())
        document.add(section, table)
    return tomlkit.dumps(document)


def _extends(target: Path, path: Path, source: str) -> str:
    """How the new file names its parent: by name where that leads to the same file, else by path."""
    if not is_path(source):
        if source == target.stem:
            problem = Problem("", f"cannot extend {source}, a preset of its own name; choose another name")
            raise PresetError(shown(target), [problem])
        beside = target.parent / f"{source}.toml"
        found = beside if os.path.lexists(beside) else find_by_name(source)
        if found is not None and os.path.realpath(found) == os.path.realpath(path):
            return source
    relative = _relative(path, target)
    return relative if is_path(relative) else f"./{relative}"


def _relative(path: Path, target: Path) -> str:
    """A path as it is written in the file `target`."""
    return os.path.relpath(path.absolute(), target.absolute().parent)
