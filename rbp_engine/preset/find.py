"""The folders that are searched for presets, and their order."""

import os
import stat
from pathlib import Path

from rbp_engine.owners import writers_problem
from rbp_engine.settings.documents import Document, read_document
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import PresetError, Problem
from rbp_engine.settings.spelling import did_you_mean

PRESETS = Path("presets")
#: Beside the code of a network there may be presets that train it, among other TOML files.
HERE = Path()
#: A file with none of these is no preset.
OF_PRESETS = frozenset({"extends", "model", "method", "neuron", "train", "optim"})


def search_folders() -> dict[str, Path]:
    """The folders of the search order, by what messages call them, whether or not they exist, each once."""
    folders = {"./presets": PRESETS}
    if chosen := os.environ.get("RBP_PRESETS"):
        folders["$RBP_PRESETS"] = Path(chosen)
    folders["your presets"] = configuration_directory() / "presets"
    folders["presets that come with rbp"] = bundled_folder()
    folders["the current folder"] = HERE
    first: dict[str, str] = {}
    for label, path in folders.items():
        first.setdefault(os.path.realpath(path), label)
    return {label: folders[label] for label in first.values()}


def bundled_folder() -> Path:
    """The presets that come with rbp: inside an installed package, or the checkout's own."""
    package = Path(__file__).parent
    packed = package / "bundled"
    return packed if packed.is_dir() else package.parents[1] / "presets"


def shared_presets_problem(name: str) -> str:
    """A warning if a preset is found in `./presets` or in the current folder, and others may write there.

    It is "" if not, or if there is no such preset. The current folder may be anybody's.
    """
    try:
        path = find_preset(name)
    except PresetError:
        return ""
    places = {"./presets": PRESETS} | ({} if is_path(name) else {"the current folder": HERE})
    found = [(label, place) for label, place in places.items() if path.absolute().parent == place.absolute()]
    if not found:
        return ""
    working = Path.cwd()
    # Where the sticky bit is set, others cannot exchange a folder that is ours.
    above = [] if working.stat().st_mode & stat.S_ISVTX else [working]
    [(label, folder)] = found
    for place in (*above, folder, path):
        if problem := writers_problem(place):
            where = label if place == folder else shown(place)
            return f"the preset {shown(path)} is used, and {where} {problem}: make sure that it is what you mean"
    return ""


def is_path(name: str) -> bool:
    """Whether a preset is named by path (`mine.toml`, `nets/mine`) rather than by name (`digits`)."""
    return name.endswith(".toml") or "/" in name or os.sep in name


def find_preset(name: str) -> Path:
    """The file of a preset, by path or by name in the search order.

    Raises `PresetError`, which lists what was searched and the nearest name.
    """
    if ".py:" in name:
        raise PresetError(name, [Problem("", f"is a network, not a preset: rbp train digits arch={name}")])
    if is_path(name):
        if os.path.lexists(name):
            return Path(name)
        raise PresetError(name, [Problem("", "no such file")])
    found = find_by_name(name)
    if found is None:
        raise PresetError(name, [Problem("", missing_message(name))])
    return found


def find_by_name(name: str) -> Path | None:
    """The first file of that name in the search order, or None."""
    candidates = (folder / f"{name}.toml" for folder in search_folders().values())
    return next((path for path in candidates if name and os.path.lexists(path)), None)


def missing_message(name: str) -> str:
    """A message that no preset has this name, with the nearest name and the searched folders."""
    bundled, places = bundled_folder().resolve(), []
    for label, folder in search_folders().items():
        own = label.startswith("./") and folder.resolve() == bundled  # in a checkout
        places.append(f"{label} ({folder}{'; these come with rbp' if own else ''})")
    return f"no preset is called '{name}'.{did_you_mean(name, sorted(all_presets()))} Searched: {', '.join(places)}"


def all_presets() -> dict[str, Path]:
    """The file of each preset in the search order by its name, which refers to the first of several."""
    folders = reversed(search_folders().values())
    return {path.stem: path for folder in folders for path in preset_files(folder)}


def preset_files(folder: Path) -> list[Path]:
    """The preset files of one folder, sorted by name; none if it cannot be read.

    Of the current folder those that have a preset's keys.
    """
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return []
    files = [path for path in found if path.suffix == ".toml" and not path.name.startswith(".")]
    return [path for path in files if folder != HERE or _has_keys_of_presets(path)]


def _has_keys_of_presets(path: Path) -> bool:
    document = read_document(path)
    return isinstance(document, Document) and not OF_PRESETS.isdisjoint(document.values)


def shown(path: Path) -> str:
    """A path as messages show it: relative if it is below the current directory."""
    # Unlike Path.resolve, abspath follows no links: the user knows the file by the given name.
    absolute, here = Path(os.path.abspath(path)), Path.cwd()  # noqa: PTH100
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def reference(path: Path, name: str) -> str:
    """The reference to a preset in a command: its name if that resolves to the file, else its path."""
    found = find_by_name(name)
    return name if found is not None and found.absolute() == path.absolute() else shown(path)
