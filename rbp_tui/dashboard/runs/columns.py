"""The columns of the table of runs, and its rows as cells."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.report.collect import Experiment
from rbp_engine.report.spread import spread_of_known
from rbp_engine.run.files.energy import read_energy
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.summary import remaining_s
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.run_settings import processes_apart
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.sparklines import Scale, Trend, sparkline
from rbp_tui.hosts.records import host_of
from rbp_tui.text import format as fmt
from rbp_tui.text.energy_text import joules
from rbp_tui.text.run_columns import (
    UNKNOWN,
    WIDEST,
    Column,
    PlacedColumn,
    fitted_row,
    place,
    setting_column,
    timesteps_needed_text,
)
from rbp_tui.text.run_text import SIGNS, STYLES, epochs_text, seed_text, timesteps_text

CURVE_WIDTH = 12
CURVE = "curve"
# Halfway between both themes' backgrounds and texts: a line in every row must not be what is read first.
CURVE_STYLE = "grey50"
MEMBER = "  "  # before the runs below the title of their experiment


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
class RunView:
    """What a row shows beside the record: its mark, its line and the scale of that, and whether a title is above it."""

    mark: str
    trend: Trend
    scale: Scale
    member: bool = False


def _best(record: RunRecord) -> str:
    epoch = record.summary.best.epoch
    return fmt.percent(record.summary.best.top1, 1) + ("" if epoch is None else f"@{epoch:.0f}")


def _failure(record: RunRecord) -> str:
    alert = record.summary.alert if record.verdict.live else ""
    return " · ".join(filter(None, (record.verdict.reason, alert)))


def _named(record: RunRecord) -> str:
    there = f"{host}: " if (host := host_of(record)) else ""
    return f"{there}{record.summary.called}" if record.readable else record.run.id


def _energy(record: RunRecord) -> str:
    energy = read_energy(record.run)
    return "" if energy is None else joules(energy.spiking.total_pj)


COLUMNS = (
    Column("run", 26, _named, "run", least=18, always=True, named=True),
    Column("id", 12, lambda record: short_id(record.summary.id), "",  # sorted by, it would be by what is not shown
           least=12, always=True),
    Column("method", 6, lambda record: fmt.method(record.summary.method), "method"),
    Column("T", 3, lambda record: timesteps_text(record.summary), "T", least=3, right=True),
    Column("T needed", 8, timesteps_needed_text,
           "T_needed", right=True),
    Column("seed", 6, lambda record: seed_text(record.summary), "seed", least=6, right=True),
    Column("status", 10, lambda record: record.verdict.shown_status, "status", always=True),
    Column("epoch", 9,
           lambda record: epochs_text(record.summary), "-epoch", least=9, right=True),
    Column("loss", 8, lambda record: fmt.number(record.summary.train.loss), "loss",
           least=8, right=True),
    Column("last %", 6,
           lambda record: fmt.percent(record.summary.last.top1, 1), "last", right=True),
    Column("best %", 10, _best, "best", least=10, right=True),
    Column(CURVE, CURVE_WIDTH, lambda _: ""),
    Column("samples/s", 9, lambda record: fmt.thousands(record.summary.samples_per_s), "-speed",
           right=True),
    Column("memory", 7, lambda record: fmt.gib(record.summary.mem_peak), "-mem",
           right=True, heading="mem GiB"),
    Column("energy", 7, _energy, "energy_uj", right=True,
           least=4),
    Column("ETA", 6,
           lambda record: fmt.duration(remaining_s(record.summary)) if record.verdict.live else "",
           "eta", least=6, right=True),
    Column("trained", 7, lambda record: fmt.duration(record.summary.trained_s),
           "-trained", right=True),
    Column("made", 12, lambda record: time.strftime("%d %b %H:%M", time.localtime(record.summary.created)), "-created",
           always=True),
    Column("host", 16, lambda record: host_of(record) or str(find_field("host").get(record) or ""), "host", least=6),
    Column("tags", 30, lambda record: " ".join(record.tags), "tags", least=8),
    Column("note", 40, lambda record: record.annotations.note, "note", least=10),
    Column("reason", WIDEST, _failure, "reason", least=8, always=True, flowing=True),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}
STRETCHING = tuple(column for column in COLUMNS if column.least is not None)
#: The columns in the order in which a narrow screen keeps them, around the settings in which the runs differ.
BEFORE_SETTINGS = ("run", "id", "method", "T", "seed", "epoch", "last %", "best %", "ETA")
AFTER_SETTINGS = (CURVE, "loss", "samples/s", "memory", "status", "tags", "trained", "energy", "made", "note", "host")
#: Settings stand behind this column.
BEFORE_RESULTS = "seed"


def lengths(record: RunRecord) -> tuple[int, ...]:
    """The lengths of a run's texts in the columns without a fixed width."""
    return tuple(len(column.text(record)) for column in STRETCHING)


def with_settings(settings: Iterable[str]) -> tuple[Column, ...]:
    """All columns, with those of settings before the results."""
    before = [column.name for column in COLUMNS].index(BEFORE_RESULTS) + 1
    return (*COLUMNS[:before], *(setting_column(key) for key in settings), *COLUMNS[before:])


def fitting(
    first: Sequence[str], others: Sequence[str], longest: Mapping[str, int], width: int
) -> tuple[PlacedColumn, ...]:
    """As many columns as fit, with settings in which the runs differ, the `first` ones before less important columns.

    `longest` has the widths of `longest_texts`.
    """
    tiers = ((*BEFORE_SETTINGS, *first, "reason"), AFTER_SETTINGS, others)
    return place(with_settings([*first, *others]), tiers, lambda column: longest.get(column.name, 0), width)


def run_cells(record: RunRecord, view: RunView, placed: Sequence[PlacedColumn]) -> tuple[TableCell, ...]:
    """One row of the table: mark, sign, then each column with the gap before it."""
    status = record.verdict.shown_status
    mark = TableCell(view.mark, "bold yellow")
    sign = TableCell(SIGNS.get(status, "✗"), STYLES.get(status, ""))
    texts = fitted_row([_text(place.column, record, view) for place in placed], placed)
    return (mark, sign, *(TableCell(text, CURVE_STYLE if place.column.name == CURVE and view.trend.values else "")
                          for text, place in zip(texts, placed, strict=True)))  # fmt: skip


def _text(column: Column, record: RunRecord, view: RunView) -> str:
    if column.name == CURVE and record.readable:
        return sparkline(view.trend, record.summary.epochs, CURVE_WIDTH, view.scale)
    return (MEMBER if view.member and column.name == "run" else "") + column.text(record)


def by_several(record: RunRecord) -> str:
    """What tells an experiment by several processes from that by one."""
    return f" · {processes} processes" if (processes := processes_apart(record)) else ""


def group_cells(group: Sequence[RunRecord], placed: Sequence[PlacedColumn]) -> tuple[TableCell, ...]:
    """The row above the runs of an experiment: its title, the number of seeds, mean and deviation of their accuracies.

    As in reports, runs that have not completed count only if none has, and only with an accuracy; `×2/3` means that two
    of three runs count.
    """
    first, experiment = group[0].summary, Experiment.of(group)
    counting = experiment.counting
    known = sum(record.summary.last.top1 is not None for record in counting) or len(counting)
    said = {
        "run": first.described + by_several(group[0]),
        "method": fmt.method(first.method),
        "T": timesteps_text(first),
        "seed": f"×{known}" if known == len(group) else f"×{known}/{len(group)}",
        "last %": _mean([record.summary.last.top1 for record in counting]).partition("±")[0],
        "best %": _mean([record.summary.best.top1 for record in counting]),
    }
    for column in (one.column for one in placed if one.column.name not in BY_NAME):
        words = {column.text(record) for record in group}  # what the experiment does not fix may differ
        said[column.name] = words.pop() if len(words) == 1 else ""
    texts = fitted_row([one_line(said.get(place.column.name, "")) for place in placed], placed)
    return tuple(TableCell(text, "bold") for text in (" ", "▾", *texts))


def _mean(values: Iterable[float | None]) -> str:
    found = spread_of_known(values)
    if found is None:
        return UNKNOWN
    deviation = "" if found.std is None else f"±{fmt.percent(found.std, 1)}"
    return f"{fmt.percent(found.mean, 1)}{deviation}"
