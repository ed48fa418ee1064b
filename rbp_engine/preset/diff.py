"""The settings in which two presets differ."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.fields import fields
from rbp_engine.preset.load import LoadedPreset, load_preset, load_text, parent_of

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

#: What a preset says about itself is not a setting.
ABOUT = ("title", "description", "paper")


@dataclass(frozen=True)
class Setting:
    """A setting that differs between two presets; `role` is "result", "cost" or "place"."""

    key: str
    here: Any
    there: Any
    role: str


def differences(here: "Preset", there: "Preset") -> list[Setting]:
    """Every setting that differs, in the order of preset files; defaults count like written values."""
    ours, theirs = here.model_dump(), there.model_dump()
    found = []
    for info in fields():
        section, _, name = info.key.partition(".")
        if section in ABOUT or "[]" in info.key:
            continue
        one, other = ours[section][name], theirs[section][name]
        if one != other:
            found.append(Setting(info.key, one, other, info.role))
    return found


def against_parent(loaded: LoadedPreset, text: str | None = None) -> tuple[str, list[Setting]]:
    """The name of the preset that this one extends, "defaults" if none, and what differs.

    `text` is the text that the preset was loaded from, if it is not that of its file. Raises `PresetError`.
    """
    parent = parent_of(loaded.path, text)
    there = load_text("", loaded.path) if parent is None else load_preset(str(parent))
    return "defaults" if parent is None else there.name, differences(loaded.preset, there.preset)
