"""The table of `rbp ls`: what fits into 80 columns, and more on a wider terminal."""

import functools
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from rbp_engine.run.files.layout import short_id
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.store import RunRecord
from rbp_engine.run.store.store import record as record_of
from rbp_engine.run.store.trash import TrashedRun
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import (
    GAP,
    WIDEST,
    Column,
    PlacedColumn,
    fitted_row,
    longest_text,
    place,
    setting_column,
    settings_worth_a_column,
    timesteps_needed_text,
)
from rbp_tui.text.run_text import SIGNS, STYLES, epochs_text, seed_text, timesteps_text


def runs_table(records: Sequence[RunRecord], placed: Sequence[PlacedColumn]) -> Text:
    """A line of headings, and one for each run."""
    lines = [Text("".join(fitted_row([place.column.title for place in placed], placed))[GAP:], "dim")]
    for record in records:
        row = fitted_row([place.column.text(record) for place in placed], placed)
        style = STYLES.get(record.verdict.shown_status, "")
        cells = [(text, style if place.column.flowing else "") for text, place in zip(row, placed, strict=True)]
        lines.append(Text.assemble(*cells)[GAP:])
    for line in lines:
        line.rstrip()
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def placed_columns(
    records: Sequence[RunRecord], width: int, wanted: Sequence[Column] = ()
) -> tuple[tuple[PlacedColumn, ...], list[str]]:
    """As many columns as fit: those wanted, or else the settings in which the runs differ, among the usual ones.

    Also the headings of columns without room that were asked for, or tell runs of one name apart.
    """
    settings = [column for column in wanted if column.name not in BY_NAME]
    keys = ([], []) if wanted else settings_worth_a_column(records)
    first, others = ([setting_column(key) for key in part] for part in keys)
    before = COLUMNS.index(BY_NAME[BEFORE_RESULTS]) + 1
    columns = (*COLUMNS[:before], *settings, *first, *others, *COLUMNS[before:])
    tiers = ((*NAMING, *_names(wanted), *USUAL, *_names(first), "processes"), ON_WIDE_TERMINALS, _names(others))

    @functools.cache  # some columns read a file of every run
    def longest(column: Column) -> int:
        always = column.name != "processes" or column in wanted
        differs = always or len({column.text(record) for record in records if record.readable}) > 1
        return longest_text(column, records) if differs else 0

    placed = place(columns, tiers, longest, width + GAP)
    shown = {place.column.name for place in placed}
    telling = wanted or (*first, BY_NAME["processes"])
    left_out = [one for one in telling if one.name not in shown and (one.least is None or longest(one))]
    return placed, [column.title for column in left_out]


def column_of(name: str) -> Column:
    """The column of a field of the query language. Raises ValueError for an unknown one, and names the nearest."""
    return next((column for column in COLUMNS if name in (column.name, column.sort)), None) or setting_column(name)


def _names(columns: Iterable[Column]) -> list[str]:
    return [column.name for column in columns]


def trash_table(entries: Sequence[TrashedRun], width: int) -> Text:
    """The runs in the trash: what they were, and how long ago they were removed."""
    ages = {entry.run.id: fmt.duration(time.time() - entry.removed) for entry in entries}
    removed = Column("removed", 12, lambda record: f"{ages[record.run.id]} ago", right=True, always=True)
    records = [record_of(entry.run) for entry in entries]
    placed, _ = placed_columns(records, width, [removed])
    return runs_table(records, placed)


def trash_plain(entry: TrashedRun) -> dict[str, Any]:
    """An entry of the trash for JSON; `name` is the reference that restores it."""
    summary = None if entry.summary is None else entry.summary.as_json()
    return {"id": entry.id, "name": entry.run.id, "removed": entry.removed, "path": entry.run.path, "summary": summary}


def _status(record: RunRecord) -> str:
    """The status with its sign and reason; of a live run with its alert."""
    verdict = record.verdict
    sign = SIGNS.get(verdict.shown_status, " ")
    reason = f": {verdict.reason}" if verdict.reason else ""
    alert = f" ! {record.summary.alert}" if verdict.live and record.summary.alert else ""
    return f"{sign} {verdict.shown_status}{reason}{alert}"


COLUMNS = (
    Column("run", 40, lambda record: record.summary.called, "run", least=18, named=True),
    Column("id", 40, lambda record: short_id(record.summary.id), "id", least=16, always=True),
    Column("method", 8, lambda record: fmt.method(record.summary.method), "method", least=8),
    Column("T", 5, lambda record: timesteps_text(record.summary), "T", least=5, right=True),
    Column("T needed", 8, timesteps_needed_text, "T_needed", right=True),
    Column("seed", 8, lambda record: seed_text(record.summary), "seed", least=8, right=True),
    Column("processes", 9, lambda record: str(find_field("processes").get(record) or ""), "processes", least=9,
           right=True),
    Column("samples/s", 9, lambda record: fmt.thousands(record.summary.samples_per_s), "speed", right=True),
    Column("memory", 7, lambda record: fmt.gib(record.summary.mem_peak), "mem", right=True, heading="mem GiB"),
    Column("age", 6, lambda record: fmt.duration(time.time() - record.summary.created), "age", right=True),
    Column("tags", 30, lambda record: " ".join(record.tags), "tags", least=12),
    Column("epoch", 11, lambda record: epochs_text(record.summary), "epoch", least=11,
           right=True),
    Column("loss", 10, lambda record: fmt.number(record.summary.train.loss), "loss", least=10, right=True,
           heading="train loss"),
    Column("last %", 6, lambda record: fmt.percent(record.summary.last.top1), "last", right=True),
    Column("best %", 6, lambda record: fmt.percent(record.summary.best.top1), "best", right=True),
    Column("status", WIDEST, _status, "status", least=11, always=True, flowing=True),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}
#: The columns in the order in which a narrow terminal keeps them, around those of settings.
NAMING = ("run", "id", "status")
USUAL = ("best %", "last %", "method", "T", "seed", "epoch")
ON_WIDE_TERMINALS = ("loss", "samples/s", "memory", "age", "tags")
#: Settings stand behind this column.
BEFORE_RESULTS = "seed"
