"""The columns of the table of runs: their texts, widths, and which of them fit on a screen."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.report.collect import precedence
from rbp_engine.report.spread import spread_of_known
from rbp_engine.run.files.summary import remaining_s
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, short_id

GAP = 1
CURVE_WIDTH = 12

TextOf: TypeAlias = Callable[[RunRecord, Trend], str]


@dataclass(frozen=True)
class Column:
    """`width` is fixed; with `least` it is the maximum, and a narrow screen may shrink the column to `least`.

    `sort` is the query field that its heading sorts by, if any. An `always` column has a text for unreadable runs, too.
    """

    name: str
    about: str
    width: int
    text_of: TextOf
    sort: str
    least: int | None = None
    right: bool = False
    always: bool = False

    def text(self, record: RunRecord, trend: Trend) -> str:
        """The text of the column for a run."""
        return one_line(self.text_of(record, trend)) if self.always or record.readable else ""


@dataclass(frozen=True, slots=True)
class TableCell:
    """A text as wide as its column. It has no `__rich_measure__`, which the table would call for each of thousands of
    cells without needing the result.
    """

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text, self.style, no_wrap=True, end="")


@dataclass(frozen=True)
class PlacedColumn:
    """A column with its width in the table, after a gap."""

    column: Column
    width: int
    gap: int = GAP


def _best(record: RunRecord, _: Trend) -> str:
    epoch = record.summary.best.epoch
    return fmt.percent(record.summary.best.top1, 1) + ("" if epoch is None else f"@{epoch:.0f}")


def _eta(record: RunRecord, _: Trend) -> str:
    return fmt.duration(remaining_s(record.summary)) if record.verdict.live else "–"


def _failure(record: RunRecord, _: Trend) -> str:
    return "" if record.verdict.status == "completed" else record.verdict.reason


COLUMNS = (
    Column("run", "its name, else what it trains", 26, lambda record, _: _named(record), "run", least=18, always=True),
    Column("id", "the end of its id, which is enough to name it", 12, lambda record, _: short_id(record.summary), "id",
           least=4, always=True),
    Column("preset", "the preset it was made from", 24, lambda record, _: record.summary.preset, "preset", least=8),
    Column("name", "the name it was given", 24, lambda record, _: record.summary.name, "name", least=8),
    Column("method", "how gradients are computed", 6, lambda record, _: fmt.method(record.summary.method), "method"),
    Column("T", "timesteps", 3, lambda record, _: str(record.summary.timesteps), "T", least=3, right=True),
    Column("seed", "the seed", 6, lambda record, _: str(record.summary.seed), "seed", least=6, right=True),
    Column("status", "its status in a word", 10, lambda record, _: record.verdict.status, "status", always=True),
    Column("epoch", "epochs done, and how many there are to be", 9,
           lambda record, _: f"{record.summary.epoch}/{record.summary.epochs}", "-epoch", least=9,
           right=True),
    Column("loss", "training loss", 8, lambda record, _: fmt.number(record.summary.train.loss), "loss",
           least=8, right=True),
    Column("last %", "newest accuracy on the test set, or on held-out data", 6,
           lambda record, _: fmt.percent(record.summary.last.top1, 1), "last", right=True),
    Column("best %", "best accuracy on the same, and its epoch", 10, _best, "best", right=True),
    Column("curve", "accuracy of its evaluations so far", CURVE_WIDTH,
           lambda _, trend: fmt.sparkline(trend, CURVE_WIDTH), ""),
    Column("samples/s", "speed of training", 9, lambda record, _: fmt.thousands(record.summary.samples_per_s), "-speed",
           right=True),
    Column("memory", "highest memory of a process", 8, lambda record, _: fmt.size(record.summary.mem_peak), "-mem",
           right=True),
    Column("ETA", "time that is left", 6, _eta, "eta", right=True),
    Column("elapsed", "time that it has trained", 7, lambda record, _: fmt.duration(record.summary.trained_s),
           "-trained", right=True),
    Column("made", "when it was made", 12, lambda record, _: _moment(record.summary.created), "-created", always=True),
    Column("host", "the machine it was started on", 16, lambda record, _: _host(record), "host", least=6),
    Column("tags", "its tags", 30, lambda record, _: " ".join(record.tags), "tags", least=8),
    Column("note", "the note on it", 40, lambda record, _: record.annotations.note, "note", least=10),
    Column("reason", "why it is not well", 60, _failure, "reason", least=14, always=True),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}
STRETCHING = tuple(column for column in COLUMNS if column.least is not None)
#: The columns in the order in which a narrow screen keeps them. `preset` and `name` are shown only if chosen: `run`
#: shows one of them.
BY_WEIGHT = ("run", "id", "method", "T", "seed", "epoch", "last %", "best %", "ETA", "loss", "samples/s", "curve",
             "memory", "status", "reason", "tags", "elapsed", "made", "note", "host")  # fmt: skip


def lengths(record: RunRecord) -> tuple[int, ...]:
    """The lengths of a run's texts in the columns without a fixed width."""
    return tuple(len(column.text(record, ())) for column in STRETCHING)


def place(longest: Mapping[str, int], width: int, chosen: Sequence[str] = ()) -> tuple[PlacedColumn, ...]:
    """The columns for a table of that width: those that the user chose, else as many as fit.

    `longest` has the length of the longest text of the columns without a fixed width. If the user chose none, columns
    that are empty for all runs are left out.
    """
    if chosen:
        return tuple(PlacedColumn(column, _natural(column, longest)) for column in COLUMNS if column.name in chosen)
    taken: dict[Column, int] = {}
    free = width
    for column in (BY_NAME[name] for name in BY_WEIGHT if longest.get(name, 1)):
        least = _natural(column, longest)
        if column.least is not None:
            least = min(least, max(column.least, len(column.name)))
        if least + GAP > free:
            break  # a narrower but less important column leaves its room to the others
        taken[column] = least
        free -= least + GAP
    placed = []
    for column in (column for column in COLUMNS if column in taken):
        more = min(free, _natural(column, longest) - taken[column])
        free -= more
        placed.append(PlacedColumn(column, taken[column] + more))
    gap = GAP + (free >= GAP * len(placed))
    return tuple(replace(one, gap=gap) for one in placed)


def run_cells(
    record: RunRecord, trend: Trend, placed: Iterable[PlacedColumn], *, marked: bool
) -> tuple[TableCell, ...]:
    """One row of the table: mark, sign, then each column with the gap before it."""
    status = record.verdict.status
    mark = TableCell("●" if marked else " ", "bold yellow")
    sign = TableCell(SIGNS.get(status, "✗"), STYLES.get(status, ""))
    return (mark, sign, *(TableCell(_fitted(place.column.text(record, trend), place)) for place in placed))


def group_cells(group: Sequence[RunRecord], placed: Iterable[PlacedColumn]) -> tuple[TableCell, ...]:
    """The row above the runs of an experiment: its title, the number of seeds, mean and deviation of their accuracies.

    As in reports, runs that have not completed count only if none has; `×2/3` means that two of three seeds count.
    """
    first, seeds = group[0].summary, _one_of_each_seed(group)
    counting = [record for record in seeds if record.verdict.status == "completed"] or seeds
    said = {
        "run": first.label,
        "preset": first.preset,
        "method": fmt.method(first.method),
        "T": str(first.timesteps),
        "seed": f"×{len(seeds)}" if len(counting) == len(seeds) else f"×{len(counting)}/{len(seeds)}",
        "last %": _mean([record.summary.last.top1 for record in counting]).partition("±")[0],
        "best %": _mean([record.summary.best.top1 for record in counting]),
    }
    texts = [" ", "▾", *(_fitted(one_line(said.get(place.column.name, "")), place) for place in placed)]
    return tuple(TableCell(text, "bold") for text in texts)


def _one_of_each_seed(group: Sequence[RunRecord]) -> list[RunRecord]:
    """For each seed the run that a report counts; the seeds of unreadable runs are unknown."""
    if not group[0].readable:
        return list(group)
    ordered = sorted(group, key=lambda record: precedence(record.run, record.summary, record.verdict))
    chosen = {record.summary.seed: record.run for record in ordered}
    return [record for record in group if record.run == chosen[record.summary.seed]]


def _mean(values: Iterable[float | None]) -> str:
    found = spread_of_known(values)
    if found is None:
        return "–"
    deviation = "" if found.std is None else f"±{fmt.percent(found.std, 1)}"
    return f"{fmt.percent(found.mean, 1)}{deviation}"


def _fitted(text: str, place: PlacedColumn) -> str:
    if cell_len(text) > place.width:
        text = f"{set_cell_size(text, place.width - 1)}…"
    room = place.width - cell_len(text) if place.column.right else 0
    return " " * (place.gap + room) + text


def _natural(column: Column, longest: Mapping[str, int]) -> int:
    if column.least is None:
        return max(column.width, len(column.name))
    return max(len(column.name), min(longest.get(column.name, 0), column.width))


def _named(record: RunRecord) -> str:
    return record.summary.called if record.readable else record.run.id


def _host(record: RunRecord) -> str:
    return str(find_field("host").get(record) or "")


def _moment(t: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(t))
