"""The table of `rbp ls`: what fits 80 columns, and more where there is more room."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from rbp_tui import format as fmt
from rbp_tui.run_text import short_id, status_text

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.run.store import RunRecord


@dataclass(frozen=True)
class Column:
    """A column that is shown from a width of the screen on; its text may be Rich markup."""

    heading: str
    text: "Callable[[RunRecord], str]"
    from_width: int = 0
    left: bool = False
    longest: int | None = None


def in_order(records: "Sequence[RunRecord]", field_name: str) -> "list[RunRecord]":
    """Sorted by a field of queries, accuracies from the best; `-field` is the other way round; unknown values last."""
    from rbp_engine.run.query_fields import field_called

    try:
        field = field_called(field_name.removeprefix("-"))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--sort") from error
    known: list[tuple[Any, RunRecord]] = []
    unknown = []
    for record in records:
        value = field.get(record)
        if value is None or value == "":
            unknown.append(record)
        else:
            known.append((value if isinstance(value, (int, float)) else str(value).lower(), record))
    backwards = field_name.startswith("-") is not (field.kind == "accuracy")
    # Numbers before texts: the table entries of a preset may be both.
    known.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=backwards)
    return [record for _, record in known] + unknown


def runs_table(records: "Sequence[RunRecord]", width: int) -> "Table":
    """One line for each run."""
    from rich.table import Table

    columns = [column for column in COLUMNS if width >= column.from_width]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(
            column.heading,
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="ellipsis",
            max_width=column.longest,
        )
    for record in records:
        table.add_row(*(column.text(record) for column in columns))
    return table


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape("".join(sign if sign.isprintable() else " " for sign in text))


def _failure(record: "RunRecord") -> str:
    """Why a run is not well; a run that ended as it should needs no words."""
    return "" if record.verdict.status == "completed" else _escaped(record.verdict.reason)


COLUMNS = (
    Column("run", lambda record: _escaped(record.summary.name or record.summary.preset), left=True, longest=22),
    Column("id", lambda record: _escaped(short_id(record.summary)), left=True, longest=12),
    Column("method", lambda record: fmt.method(record.summary.method), left=True),
    Column("T", lambda record: str(record.summary.timesteps)),
    Column("seed", lambda record: str(record.summary.seed)),
    Column("status", lambda record: status_text(record.verdict.status), left=True),
    Column("epoch", lambda record: f"{record.summary.epoch}/{record.summary.epochs}"),
    Column("last %", lambda record: fmt.percent(record.summary.last.get("top1"))),
    Column("best %", lambda record: fmt.percent(record.summary.best.get("top1"))),
    Column("loss", lambda record: fmt.number(record.summary.train.get("loss")), 96),
    Column("samples/s", lambda record: fmt.thousands(record.summary.samples_per_s), 108),
    Column("memory", lambda record: fmt.size(record.summary.mem_peak), 118),
    Column("age", lambda record: fmt.duration(time.time() - record.summary.created), 126),
    Column("tags", lambda record: _escaped(" ".join(record.tags)), 140, left=True, longest=24),
    Column("reason", _failure, 160, left=True),
)
