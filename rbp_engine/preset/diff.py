"""In which settings two presets differ."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.fields import fields

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

#: What a preset says about itself is no setting.
ABOUT = ("title", "description", "paper")


@dataclass(frozen=True)
class Setting:
    """A setting that is not the same in two presets; `role` is "result", "cost" or "place"."""

    key: str
    here: Any
    there: Any
    role: str


def differences(here: "Preset", there: "Preset") -> list[Setting]:
    """Every setting that differs, in the order in which presets are written; defaults count as if they were written."""
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
