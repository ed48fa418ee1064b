"""The table of `rbp ls`: what fits into 80 columns, and more on a wider terminal."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbp_engine.run.store.query_fields import find_field
from rbp_tui.cli.output import cell
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import short_id, status_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from rbp_engine.run.store.store import RunRecord
    from rbp_engine.run.store.trash import TrashedRun


@dataclass(frozen=True)
class ListColumn:
    """A column of the table; `shrinks` is the least width that still identifies a run.

    An `always` column is shown for unreadable runs, too; a `telling` one only if runs differ in it.
    """

    heading: str
    text: "Callable[[RunRecord], str | Text]"
    left: bool = False
    shrinks: int | None = None
    always: bool = False
    telling: bool = False

    def shown(self, record: "RunRecord") -> "Text":
        from rich.text import Text

        found = self.text(record) if self.always or record.readable else "–"
        return Text(cell(found)) if isinstance(found, str) else found

    def is_informative(self, texts: Sequence[str]) -> bool:
        """Whether the column is worth its width, by its texts for all runs."""
        return len(set(texts) - {"–", ""}) > 1 if self.telling else any(texts)


def runs_table(records: "Sequence[RunRecord]", width: int) -> "Table":
    """One row per run, with as many columns as fit."""
    from rich.cells import cell_len
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    columns: list[tuple[ListColumn, list[Text], int]] = []
    free = width
    for number, column in enumerate(COLUMNS):
        if number >= ALWAYS and cell_len(column.heading) > free - GAP:
            continue
        texts = [column.shown(record) for record in records]
        wanted = max(cell_len(column.heading), *(text.cell_len for text in texts))
        least = wanted if column.shrinks is None else min(wanted, max(column.shrinks, cell_len(column.heading)))
        if number >= ALWAYS and (least > free - GAP or not column.is_informative([text.plain for text in texts])):
            continue
        columns.append((column, texts, least))
        free -= least + (GAP if number else 0)
    for column, texts, least in columns:
        wanted = max(cell_len(column.heading), *(text.cell_len for text in texts))
        length = min(wanted, least + max(0, free))
        free -= length - least
        table.add_column(
            column.heading,
            justify="left" if column.left else "right",
            no_wrap=True,
            overflow="ellipsis",
            width=length,
        )
    for row in zip(*(texts for _, texts, _ in columns), strict=True):
        table.add_row(*row)
    return table


def trash_table(entries: "Sequence[TrashedRun]") -> "Table":
    """The runs in the trash: what they were, and how long ago they were removed."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("run", "id", "method", "T", "seed", "status", "best %", "removed"):
        table.add_column(heading, justify="left" if heading in ("run", "id", "method", "status") else "right")
    for entry in entries:
        summary = entry.summary
        known = ("–", "–", "–", "–", "–") if summary is None else (
            fmt.method(summary.method),
            str(summary.timesteps),
            str(summary.seed),
            status_text(summary.status),
            fmt.percent(summary.best.top1),
        )  # fmt: skip
        named = "–" if summary is None else cell(summary.called)
        short = entry.run.id if summary is None or entry.run.id != entry.id else short_id(summary)
        table.add_row(named, cell(short), *known, f"{fmt.duration(time.time() - entry.removed)} ago")
    return table


def trash_plain(entry: "TrashedRun") -> dict[str, Any]:
    """An entry of the trash for JSON; `name` is the reference that restores it."""
    summary = None if entry.summary is None else entry.summary.as_json()
    return {"id": entry.id, "name": entry.run.id, "removed": entry.removed, "path": entry.run.path, "summary": summary}


def _field(name: str, record: "RunRecord") -> str:
    """The value of a query field as text; empty if there is none."""
    value = find_field(name).get(record)
    return "" if value is None else str(value)


def _failure(record: "RunRecord") -> str:
    """The reason of a run's status; empty for a completed run."""
    return "" if record.verdict.status == "completed" else record.verdict.reason


GAP = 2
#: This many of the columns are always shown, the others if they fit and are informative.
ALWAYS = 9
COLUMNS = (
    ListColumn("run", lambda record: record.summary.called, left=True, shrinks=18),
    ListColumn("id", lambda record: short_id(record.summary), left=True, shrinks=6, always=True),
    ListColumn("method", lambda record: fmt.method(record.summary.method), left=True),
    ListColumn("T", lambda record: str(record.summary.timesteps)),
    ListColumn("seed", lambda record: str(record.summary.seed)),
    ListColumn("status", lambda record: status_text(record.verdict.status), left=True, always=True),
    ListColumn("epoch", lambda record: f"{record.summary.epoch}/{record.summary.epochs}"),
    ListColumn("last %", lambda record: fmt.percent(record.summary.last.top1)),
    ListColumn("best %", lambda record: fmt.percent(record.summary.best.top1)),
    ListColumn("precision", lambda record: _field("precision", record), left=True, telling=True),
    ListColumn("processes", lambda record: _field("processes", record), telling=True),
    ListColumn("train loss", lambda record: fmt.number(record.summary.train.loss)),
    ListColumn("samples/s", lambda record: fmt.thousands(record.summary.samples_per_s)),
    ListColumn("memory", lambda record: fmt.size(record.summary.mem_peak)),
    ListColumn("age", lambda record: fmt.duration(time.time() - record.summary.created)),
    ListColumn("tags", lambda record: " ".join(record.tags), left=True, shrinks=12),
    ListColumn("reason", _failure, left=True, shrinks=20, always=True),
)
