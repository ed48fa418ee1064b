"""Create preset files, which contain their name, the preset that they extend, and only what differs from it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.preset.diff import differences
from rbp_engine.preset.load import LoadedPreset, load_preset, load_text, parent_of
from rbp_engine.preset.own_code import FIELDS, OUTSIDE, leads_out_of_a_run, own_file
from rbp_engine.preset.resolved import toml_item
from rbp_engine.preset.search import bundled_folder, find_by_name, is_path, shown
from rbp_engine.settings.documents import parse_document, read_text
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import PresetError, Problem
from rbp_engine.settings.values import describe_value

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def place_of(name: str, *, for_user: bool = False) -> Path:
    """The file for a new preset of this name, in ./presets or the user's own presets; a path is used as it is.

    Raises `PresetError` for an invalid name.
    """
    if is_path(name):
        return Path(name if name.endswith(".toml") else f"{name}.toml")
    if NAME.fullmatch(name) is None:
        raise PresetError(name, [Problem("", "cannot be the name of a preset: use letters, digits, '.', '_' and '-'")])
    folder = configuration_directory() / "presets" if for_user else Path("presets")
    return folder / f"{name}.toml"


def create_preset(target: Path, source: str | None = None, words: Sequence[str] = ()) -> LoadedPreset:
    """Write a preset that extends `source` (a name or path; None for the defaults) by `key=value` words.

    Writes only what differs. Raises `PresetError` if anything is wrong or the file exists, and then writes nothing.
    """
    if os.path.lexists(target):
        raise PresetError(shown(target), [Problem("", "exists already; choose another name, or edit it")])
    base = load_text("", target) if source is None else load_preset(source)
    changed = load_text("", target, words) if source is None else load_preset(source, words)
    text = _text(target, base, changed, source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)  # first: ../nets.py only resolves from an existing folder
        loaded = load_text(text, target)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PresetError(shown(target), [Problem("", f"cannot be written: {error.strerror}")]) from error
    return loaded


def copy_preset(target: Path, path: Path, *, code: Path | None = None, note: str = "") -> None:
    """Write a copy of the preset `path`, with its comments, and with relative paths adjusted to the same targets.

    `code` is the folder that the names of the user's code are relative to, if not the preset's own; `note` is a comment
    for the first line. Raises `PresetError` if the target exists, or the preset cannot be read.
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
    """The text of the preset `path` for the file `target`, with the same parent and the same user's code.

    `code` is the folder that the names of the user's code are relative to, if the preset is a run's own. A text that is
    not TOML is returned unchanged. Raises `PresetError` if the parent is missing, or has the name of the copy, and if a
    run's own preset names code outside that folder.
    """
    document = parse_document(text, path)
    if isinstance(document, Problem):
        return text
    moved: dict[tuple[str, ...], str] = {}
    parent = parent_of(path, text)
    if parent is not None:
        moved[("extends",)] = _extends(target, parent, document.values["extends"])
    for section, field in FIELDS:
        values = document.values.get(section)
        name = str(values.get(field, "")) if isinstance(values, dict) else ""
        file = own_file(name)
        if code is not None and leads_out_of_a_run(name):
            line = document.lines.get((section, field))
            message = f"{OUTSIDE}, got {describe_value(name)}"
            raise PresetError(shown(path), [Problem(f"{section}.{field}", message, line)])
        if file is not None and not os.path.isabs(os.path.expanduser(file)):  # noqa: PTH111, PTH117  # unknown ~user
            moved[(section, field)] = _relative((code or path.parent) / file, target) + name.removeprefix(file)
    import tomlkit

    content: Any = tomlkit.parse(text)
    changed = False
    for (*tables, key), value in moved.items():
        place = content[tables[0]] if tables else content
        if place[key] != value:
            place[key], changed = value, True
    return tomlkit.dumps(content) if changed else text


def is_bundled(path: Path) -> bool:
    """Whether a preset is a bundled one, which an update would overwrite; those of a checkout are not."""
    folder = os.path.realpath(path.parent)
    return folder == os.path.realpath(bundled_folder()) != os.path.realpath("presets")


def draft_of(target: Path) -> Path:
    """The file for an edit of a preset until it is valid; lists of presets ignore it."""
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
        if setting.key in changed.own_code:  # given relative to here, but read relative to the preset
            value = f"{_relative(changed.own_code[setting.key].path, target)}:{value.rpartition(':')[2]}"
        sections.setdefault(section, tomlkit.table()).add(name, toml_item(value))
    for section, table in sections.items():
        document.add(tomlkit.nl())
        document.add(section, table)
    return tomlkit.dumps(document)


def _extends(target: Path, path: Path, source: str) -> str:
    """The new file's reference to its parent: its name if that resolves to the same file, else a path."""
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
    """A path relative to the file `target`."""
    return os.path.relpath(path.absolute(), target.absolute().parent)
