"""Presets and their fields, as tables and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from rbp_engine.data.catalog import catalogued, is_catalogued
from rbp_engine.preset import SHORT_NAMES, FieldInfo, PresetEntry, fields
from rbp_engine.preset.sweep.check import sweep_fields
from rbp_engine.report.paper import published
from rbp_engine.settings.spelling import did_you_mean
from rbp_tui.cli.output import cell, console, print_json, print_rich
from rbp_tui.text import format as fmt
from rbp_tui.text.setting_words import rule
from rbp_tui.text.styled import styled
from rbp_tui.text.text_table import empty_table

LEAST_TITLE = 16


def print_sweep_keys(*, as_json: bool) -> None:
    texts = {info.key: f"{info.type.capitalize()}: {info.text}" for info in sweep_fields()}
    if as_json:
        print_json([{"key": key, "text": text} for key, text in texts.items()])
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, text in texts.items():
        table.add_row(styled("[bold]{}[/]", key), cell(text))
    print_rich(table)


def plain_entry(entry: PresetEntry) -> dict[str, Any]:
    """A preset as JSON; unknown values of a broken one are None."""
    row: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title,
        "path": entry.path,
        "data": entry.group,
        "data_here": catalogued(entry.group).find().found if is_catalogued(entry.group) else None,
        "problems": [asdict(problem) for problem in entry.problems],
    }
    preset = entry.preset
    if preset is None:
        return row | dict.fromkeys(("network", "method", "timesteps", "epochs", "paper_top1"))
    return row | {
        "network": preset.model.name,
        "method": preset.method.name,
        "timesteps": preset.method.timesteps,
        "epochs": preset.train.epochs,
        "paper_top1": published(preset),
    }


def list_table(rows: list[dict[str, Any]]) -> Table:
    # A path to own code may be of any length, and the names of the presets matter more.
    rows = [row | {"network": (row["network"] or "").rpartition("/")[2]} for row in rows]
    table = Table(
        Column("preset", overflow="fold"),
        Column(max_width=_room_for_titles(rows)),
        Column("network", no_wrap=True),
        Column("method", no_wrap=True),
        Column("T", justify="right", no_wrap=True),
        Column("epochs", justify="right", no_wrap=True),
        Column("paper %", justify="right", no_wrap=True),
        box=None,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
    )
    for group, members in groupby(rows, key=lambda row: row["data"]):
        presets = list(members)
        here = {
            True: styled("[green]✓[/] data here"),
            False: styled("[dim]data not here[/]"),
            None: styled(""),
        }[presets[0]["data_here"]]
        table.add_row(styled("[bold]{}[/]", group or "unreadable"), "", here)
        for row in presets:
            table.add_row(*_list_cells(row))
    return table


def _room_for_titles(rows: list[dict[str, Any]]) -> int:
    """The width that the other cells leave, 0 if a title would say little in it; only very long names are shortened."""
    name = max((len(row["name"]) + 2 for row in rows), default=0)
    network = max((len(row["network"]) for row in rows), default=0)
    others = min(name, 40) + max(network, len("data not here")) + len(" rate_M 100 epochs paper % ") + 1
    room = console().width - others
    return room if room >= LEAST_TITLE else 0


def _list_cells(row: dict[str, Any]) -> list[str | Text]:
    name = f"  {cell(row['name'])}"
    if count := len(row["problems"]):
        return [name, "", Text(f"✗ {fmt.counted(count, 'problem')}", style="red")]
    paper = row["paper_top1"]
    return [
        name,
        # If space is short, the title is cut first.
        Text(cell(row["title"]), style="dim", no_wrap=True, overflow="ellipsis"),
        cell(row["network"]),
        fmt.method(row["method"]),
        str(row["timesteps"]),
        str(row["epochs"]),
        "unknown" if isinstance(paper, str) else fmt.percent(paper),
    ]


def fields_called(word: str) -> list[FieldInfo]:
    """The fields of a section, key, short name or last part of a key: the first of these that matches."""
    known = fields()
    return (
        [info for info in known if info.key == word or info.key.startswith((f"{word}.", f"{word}[]."))]
        or [info for info in known if info.key == SHORT_NAMES.get(word)]
        or [info for info in known if _last(info) == word]
    )


def nearest_field(word: str) -> str:
    known = fields()
    sections = {info.key.partition(".")[0] for info in known}
    return did_you_mean(word, [*SHORT_NAMES, *sections, *(info.key for info in known), *map(_last, known)])


def _last(info: FieldInfo) -> str:
    return info.key.rpartition(".")[2]


def schema_table(chosen: Sequence[FieldInfo]) -> Table:
    table = empty_table(["field", "default", Column("meaning")])
    for info in chosen:
        meaning = styled("{}\n[dim]{}[/]", info.text, rule(info))
        table.add_row(info.key, json.dumps(info.default), meaning)
    return table
