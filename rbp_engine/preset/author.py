"""Create preset files, which contain their name, the preset that they extend, and only what differs from it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbp_engine.preset.find import PRESETS, bundled_folder, find_by_name, is_path, shown
from rbp_engine.preset.load import LoadedPreset, differences, load_preset, load_text
from rbp_engine.preset.pretrained import TEACHER, TEACHER_FILE, is_path_of_weights
from rbp_engine.preset.resolved import as_toml
from rbp_engine.settings.documents import read_text, usable
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import PresetError, Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def place_of(name: str, *, for_user: bool = False) -> Path:
    """The file for a new preset of this name, in ./presets or the user's own presets; a path is used as it is.

    In a checkout ./presets are those that come with rbp, so that it is one of the user's own. Raises `PresetError` for
    an invalid name.
    """
    if is_path(name):
        return Path(name if name.endswith(".toml") else f"{name}.toml")
    if NAME.fullmatch(name) is None:
        raise PresetError(name, [Problem("", "cannot be the name of a preset: use letters, digits, '.', '_' and '-'")])
    here = PRESETS / f"{name}.toml"
    return configuration_directory() / here if for_user or is_bundled(here) else here


def create_preset(target: Path, source: str | None = None, words: Sequence[str] = ()) -> LoadedPreset:
    """Write a preset that extends `source` (a name or path; None for the defaults) by `key=value` words.

    Writes only what differs. Raises `PresetError` if anything is wrong or the file exists, and then writes nothing.
    """
    base = load_text("", target) if source is None else load_preset(source)
    changed = load_text("", target, words) if source is None else load_preset(source, words)
    _write(target, _text(target, base, changed, source))
    return load_preset(str(target))


def create_from_run(target: Path, preset: Path, code: Path | None, note: str) -> None:
    """Write a preset with the settings of a run, from its own `preset` and its folder of `code`.

    `note` is a comment for the first line. Raises `PresetError` as `create_preset` does.
    """
    changed = load_preset(str(preset), code=code)
    text = _text(target, load_text("", target), changed, None, teacher=preset.with_name(TEACHER_FILE))
    _write(target, f"# {note}\n{text}")


def copy_preset(target: Path, path: Path) -> None:
    """Write a copy of the text of a preset, as it is. Raises `PresetError` if the target exists, or it has no text."""
    _write(target, usable(read_text(path), PresetError, shown(path)), check=False)


def _write(target: Path, text: str, *, check: bool = True) -> None:
    if os.path.lexists(target):
        raise PresetError(shown(target), [Problem("", "exists already; choose another name, or edit it")])
    try:
        target.parent.mkdir(parents=True, exist_ok=True)  # first: ../nets.py only resolves from an existing folder
        if check:
            load_text(text, target)
        with target.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise PresetError(shown(target), [Problem("", f"cannot be written: {error.strerror}")]) from error


def is_bundled(path: Path) -> bool:
    """Whether a preset is one that comes with rbp: what its name means is not the user's to change."""
    return os.path.realpath(path.parent) == os.path.realpath(bundled_folder())


def _text(
    target: Path, base: LoadedPreset, changed: LoadedPreset, source: str | None, teacher: Path | None = None
) -> str:
    """The text of a new preset; `teacher` is a run's copy of weights to distill from, in place of a path to them."""
    what = "the defaults" if source is None else base.name
    values: dict[str, Any] = {"title": f"{target.stem}, from {base.name}" if source else target.stem}
    if source is not None:
        values["extends"] = _extends(target, base.path, source)
    for setting in differences(changed.preset, base.preset):
        section, _, name = setting.key.partition(".")
        value = setting.here
        if setting.key in changed.own_code:  # given relative to here, but read relative to the preset
            value = f"{_relative(changed.own_code[setting.key].path, target)}:{value.rpartition(':')[2]}"
        elif setting.key == TEACHER and is_path_of_weights(value):
            value = _by_path(teacher or Path(os.path.expanduser(value)), target)  # noqa: PTH111  # as in own_code.py
        values.setdefault(section, {})[name] = value
    return f"# Only what differs from {what}; rbp presets schema explains every setting.\n{as_toml(values)}"


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
    return _by_path(path, target)


def _by_path(path: Path, target: Path) -> str:
    """A path relative to the file `target`, which nothing takes for a name."""
    relative = _relative(path, target)
    return relative if is_path(relative) else f"./{relative}"


def _relative(path: Path, target: Path) -> str:
    """A path relative to the file `target`."""
    return os.path.relpath(path.absolute(), target.absolute().parent)
