"""New preset files: an own name, the preset they begin from, and only what differs from it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.preset.diff import differences
from rbp_engine.preset.errors import PresetError, Problem
from rbp_engine.preset.load import LoadedPreset, load_preset, load_text
from rbp_engine.preset.resolved import toml_item
from rbp_engine.preset.search import bundled_folder, configuration_directory, is_path, shown

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
            file = os.path.relpath(changed.own_code[setting.key].path, target.absolute().parent)
            value = f"{file}:{value.rpartition(':')[2]}"
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
        if not os.path.lexists(beside) or os.path.realpath(beside) == os.path.realpath(path):
            return source
    relative = os.path.relpath(path, target.absolute().parent)
    return relative if is_path(relative) else f"./{relative}"
