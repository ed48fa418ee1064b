"""The run card: the important settings, the run's origin, and its differences from another run or its preset."""

from typing import TYPE_CHECKING

from rich.text import Text

from rbp_engine.preset import PresetError, load_preset, read_resolved
from rbp_engine.preset.load import differences
from rbp_engine.printable import one_line
from rbp_engine.report.names import shown_value
from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_engine.run.files.run_json import RunJson, read_run_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.store.run_settings import read_settings
from rbp_tui.text.setting_words import main_settings

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def card_text(run: RunDirectory, baseline: RunDirectory | None) -> Text:
    """The card as two columns, and below the differences from another run or the preset. What is unreadable has a note.

    It is made in a thread, since presets are slow to check.
    """
    origin, summary = read_run_json(run), read_summary(run)
    name, other = "", None
    if summary is not None and summary.program:
        rows = [("program", one_line(summary.program)), *_given(run)]
    else:
        try:
            preset = read_resolved(run.preset_toml)
            rows = main_settings(preset)
            name, other = _other(run, origin, baseline)
        except PresetError as error:
            rows = [("preset", one_line(str(error)))]
    text = Text()
    for label, value in (*rows, *_origin(run, origin)):
        text.append(f"{label:<9} ", style="dim").append(f"{value}\n")
    found = [] if other is None else differences(preset, other)
    differing = [one for one in found if one.role != "place" and one.key != "run.seed" and not one.is_copy]
    if differing:
        text.append(f"\ndiffers from {one_line(name)}\n", style="dim")
        for one in differing:
            there = f"{shown_value(one.here)} (not {shown_value(one.there)})"
            text.append(f"{one.key} ", style="").append(f"{there}\n", style="yellow")
    elif name:
        text.append(f"\nas {one_line(name)}", style="dim")
    return text


def _other(run: RunDirectory, origin: RunJson, baseline: RunDirectory | None) -> "tuple[str, Preset | None]":
    """What the run is compared with: the pinned run, else its preset."""
    try:
        if baseline is not None and baseline != run:
            return f"{short_id(baseline.id)}, the baseline", read_resolved(baseline.preset_toml)
        source = origin.source or origin.preset
        return origin.preset or source, load_preset(source).preset
    except PresetError:  # it has been moved or changed since
        return "", None


def _given(run: RunDirectory) -> list[tuple[str, str]]:
    """The settings that another program was given."""
    return [
        (one_line(key.removeprefix("settings.")), shown_value(value))
        for section in read_settings(run).sections
        for key, value in section.items()
    ]


def _origin(run: RunDirectory, origin: RunJson) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if origin.git:
        rows.append(("commit", one_line(f"{origin.git.commit[:10]}{' + changes' if origin.git.changed else ''}")))
    if origin.host:
        rows.append(("host", one_line(origin.host)))
    annotations, summary = read_annotations(run), read_summary(run)
    if summary is not None and (tags := annotations.tags(summary)):
        rows.append(("tags", one_line(" ".join(tags))))
    if annotations.note:
        rows.append(("note", one_line(annotations.note)))
    return rows
