"""Explain settings as they are typed, in overrides and in a preset's TOML, complete overrides, and compare presets."""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.preset import SHORT_NAMES, FieldInfo, Setting, fields
from rbp_engine.printable import one_line
from rbp_engine.report.names import network, shown_value, value_text
from rbp_engine.vocabulary import RATE_METHODS
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.preset.schema import Preset

CHANGES = {"result": "changes the result", "cost": "is no part of the experiment", "place": "changes only the place"}


def short_name(key: str) -> str:
    """The short name of a field in overrides; empty if it has none."""
    return next((short for short, dotted in SHORT_NAMES.items() if dotted == key), "")


def rule(info: FieldInfo) -> str:
    """The values and unit of a field, what it changes, and its short name, in one line."""
    kind = f"one of {', '.join(info.choices)}" if info.choices else f"{info.type} {info.constraints}".strip()
    unit, short = f"unit: {info.unit}" if info.unit else "", short_name(info.key)
    parts = (kind, unit, CHANGES[info.role], f"short: {short}" if short else "")
    return " · ".join(part for part in parts if part)


SECTION = re.compile(r"\s*\[+\s*([\w.-]+)")
KEY = re.compile(r"\s*([\w.-]+)\s*(=?)")


def last_word(text: str) -> str:
    """The word being typed at the end of a line of overrides."""
    return re.split(r"\s", text)[-1]


def completions(word: str, preset: "Preset | None") -> list[str]:
    """The completions of an override that begins with `word`: names with "=", then values; the likeliest first.

    For a field without choices the preset's own value is offered, until a number is typed. Of several values,
    `KEY=A,B`, the last is completed, with one that is not among them.
    """
    name, equals, typed = word.partition("=")
    if "," in typed:
        head, _, typed = typed.rpartition(",")
        offered = (value.partition("=")[2] for value in completions(f"{name}=", None))
        new = [
            value for value in offered if value not in head.split(",") and value.startswith(typed) and value != typed
        ]
        return [f"{name}={head},{value}" for value in new]
    info = _field(SHORT_NAMES.get(name, name)) if equals else None
    if info is not None:
        is_number = not info.choices and re.fullmatch(r"[-+.\deE]+", typed)
        known = () if is_number else _values(info, preset)
        values = (value for value in known if value.startswith(typed) and not re.search(r"\s", value))
        return [f"{name}={value}" for value in values if value != typed]
    names = [] if equals else [*SHORT_NAMES, *(info.key for info in _settings())]
    starting = [known for known in names if known.startswith(name)]
    inside = [known for known in names if known.rpartition(".")[2].startswith(name) and known not in starting]
    return [f"{known}=" for known in starting + (inside if name else [])]


def complete(text: str, preset: "Preset | None") -> str:
    """A line of overrides with its last word completed; the line itself if nothing fits or nothing is missing."""
    word = last_word(text)
    name, _, value = word.partition("=")
    info = _field(SHORT_NAMES.get(name, name))
    whole = info is not None and value.rpartition(",")[2] in _values(info, None if "," in value else preset)
    found = completions(word, preset) if word and not whole else []
    return text.removesuffix(word) + found[0] if found else text


def help_on_word(word: str) -> str:
    """The meaning of an override's setting; empty if it is unknown."""
    name = word.partition("=")[0]
    return _about(_field(SHORT_NAMES.get(name, name)))


def help_on_line(lines: Sequence[str], row: int) -> str:
    """The meaning of the setting in a row of a preset's TOML; empty if there is none."""
    return _about(_field(_key_in(lines, row)))


def _settings() -> list[FieldInfo]:
    return [info for info in fields() if "." in info.key and not info.key.startswith("paper")]


def _field(key: str) -> FieldInfo | None:
    return next((info for info in fields() if info.key == key), None)


def _values(info: FieldInfo, preset: "Preset | None") -> Sequence[str]:
    if info.choices:
        return info.choices
    if info.type == "true or false":
        return "true", "false"
    return () if preset is None else (value_text(_value(info.key, preset)),)


def _value(key: str, preset: "Preset") -> Any:
    return functools.reduce(getattr, key.split("."), preset)


def _section(lines: Sequence[str], row: int) -> str:
    for line in reversed(lines[: row + 1]):
        if (found := SECTION.match(line)) and not line.lstrip().startswith("{"):
            return found[1]
    return ""


def _key_in(lines: Sequence[str], row: int) -> str:
    found = KEY.match(lines[row]) if 0 <= row < len(lines) else None
    if found is None or not found[2]:
        return ""
    section = _section(lines, row)
    return f"{section}.{found[1]}" if section else found[1]


def _about(info: FieldInfo | None) -> str:
    return "" if info is None else f"{info.key}: {info.text} {rule(info)}"


def main_settings(preset: "Preset") -> list[tuple[str, str]]:
    """What is looked at first in a preset: names and values."""
    neuron, optim, method = preset.neuron, preset.optim, preset.method
    scale = f" × {method.loss_scale}" if method.name in RATE_METHODS else ""
    warmup = f", {optim.warmup_epochs} warm-up" if optim.warmup_epochs else ""
    arguments = f" {value_text(neuron.surrogate_args)}" if neuron.surrogate_args else ""
    lif = ("λ, V_th", f"{neuron.decay:g}, {neuron.threshold:g}")
    reset = neuron.reset + (", detached" if neuron.detach_reset else "")
    known = neuron.name == "lif"  # another neuron has none of LIF's settings
    rows = (
        ("network", network(preset.model.name)),
        ("T", str(method.timesteps)),
        ("method", fmt.method(method.name)),
        ("loss", f"{preset.loss.name}{scale}"),
        lif if known else ("neuron", neuron.name),
        ("reset", reset if known else "–"),
        ("epochs", str(preset.train.epochs)),
        ("batch", str(preset.data.batch_size)),
        ("lr", f"{optim.lr:g} {optim.schedule}{warmup}"),
        ("optim", optim.name),
        ("surrogate", f"{neuron.surrogate}{arguments}"),
        ("precision", preset.train.precision),
    )
    return [(name, one_line(value)) for name, value in rows]


def settings_table(settings: Iterable[Setting], here: str, there: str) -> "Table":
    """One row per setting in which two presets differ, with both values; what does not change the result is dimmed."""
    from rich.table import Column
    from rich.text import Text

    from rbp_tui.text.text_table import empty_table

    values = [Column(Text(name), overflow="fold") for name in (here, there)]
    table = empty_table(["setting", *values, "role"])
    for setting in settings:
        style = "" if setting.role == "result" else "dim"
        words = (setting.key, shown_value(setting.here), shown_value(setting.there), setting.role)
        table.add_row(*(Text(word, style=style) for word in words))
    return table
