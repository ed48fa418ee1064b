"""The rows of the table of runs as text: filtered, sorted and grouped. Independent of the screen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from rbp_engine.run.store.query import Query, QueryError, parse_query, sort_runs
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.sparklines import NO_TREND, Trend, common_scales
from rbp_tui.dashboard.runs.columns import (
    MEMBER,
    STRETCHING,
    RunView,
    TableCell,
    by_several,
    fitting,
    group_cells,
    lengths,
    run_cells,
)
from rbp_tui.hosts.records import host_of
from rbp_tui.text.run_columns import PlacedColumn, longest_texts, setting_column, settings_worth_a_column

Cells: TypeAlias = tuple[TableCell, ...]
Of = TypeVar("Of")
Made = TypeVar("Made")
NEWEST_FIRST = "-created"
LONGEST_SPREAD = len("99.9±10.0")


@dataclass(frozen=True)
class TableView:
    """The settings of the table, which has as many columns as fit `width`; `sort` is a query field."""

    query: str = ""
    sort: str = NEWEST_FIRST
    grouped: bool = False
    width: int = 80


@dataclass(frozen=True)
class Rows:
    """`cells` by row, in order; a row is a run by its id or a group by `experiment:…`, of which `groups` has the runs.

    `problem` describes an error in the query; the rows are then those of the last valid one. `about_archived`: it asks
    which runs are in the archive.
    """

    placed: tuple[PlacedColumn, ...] = ()
    cells: Mapping[str, Cells] = field(default_factory=dict)
    records: tuple[RunRecord, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str = ""
    about_archived: bool = False


class RowMaker:
    """Makes rows repeatedly; unchanged ones are the same objects as before."""

    def __init__(self) -> None:
        self._query = parse_query("")
        self._lengths: dict[str, tuple[RunRecord, tuple[int, ...]]] = {}
        self._placed: tuple[PlacedColumn, ...] = ()
        self._runs: dict[str, tuple[tuple[RunRecord, RunView], Cells]] = {}
        self._groups: dict[str, tuple[list[RunRecord], Cells]] = {}
        self._settings: dict[str, tuple[frozenset[str], tuple[dict[str, int], ...]]] = {}

    def rows(
        self, records: Sequence[RunRecord], view: TableView, marks: Mapping[str, str], trends: Mapping[str, Trend]
    ) -> Rows:
        """The rows of all runs, given oldest first; `marks` has the sign before a run, by its id."""
        query, problem = self._parse_query(view.query, records)
        shown = _sorted([record for record in reversed(records) if query.lists(record)], view.sort)
        if view.sort == NEWEST_FIRST:  # nobody asked for another order, and what trains now is looked for most
            shown.sort(key=lambda record: not record.verdict.live or record.verdict.status == "queued")
        placed = self._place(records, shown, view)
        if placed != self._placed:
            self._placed, self._runs, self._groups = placed, {}, {}
        scales = common_scales(trends[record.run.id] for record in shown if record.run.id in trends)

        def row(record: RunRecord, *, member: bool = False) -> Cells:
            trend = trends.get(record.run.id, NO_TREND)
            scale = scales.get(trend.metric, (0.0, 1.0))
            beside = RunView(marks.get(record.run.id, " "), trend, scale, member)
            return _made(self._runs, record.run.id, (record, beside), lambda of: run_cells(*of, placed))

        groups: dict[str, list[RunRecord]] = {}
        for record in shown if view.grouped else ():
            # Nothing can be done with runs of other hosts together, nor is anything known of those that cannot be read.
            alone = f"alone:{record.run.id}" if host_of(record) or not record.readable else ""
            groups.setdefault(alone or f"experiment:{record.summary.experiment}{by_several(record)}", []).append(record)
        cells: dict[str, Cells] = {}
        for name, group in groups.items():
            several = len(group) > 1
            if several:
                cells[name] = _made(self._groups, name, group, lambda of: group_cells(of, placed))
            cells |= {record.run.id: row(record, member=several) for record in group}
        if not view.grouped:
            cells = {record.run.id: row(record) for record in shown}
        ids = {name: tuple(record.run.id for record in group) for name, group in groups.items() if name in cells}
        return Rows(placed, cells, tuple(shown), ids, problem, query.about_archived)

    def _place(
        self, records: Sequence[RunRecord], shown: Sequence[RunRecord], view: TableView
    ) -> tuple[PlacedColumn, ...]:
        """The columns. Those of settings are for the runs that are shown; the others stay where they are."""
        longest = self._longest(records)
        if view.grouped:
            longest["run"] += max([len(MEMBER), *(len(by_several(one)) for one in shown if not host_of(one))])
            longest["best %"] = max(longest["best %"], LONGEST_SPREAD)
        first, others = self._settings_of(shown)
        return fitting(list(first), list(others), longest | first | others, view.width)

    def _settings_of(self, shown: Sequence[RunRecord]) -> tuple[dict[str, int], ...]:
        """The settings in which the runs differ, those to show first and others, with the widths of their columns."""
        asked = frozenset(record.run.id for record in shown)

        def widths(_: frozenset[str]) -> tuple[dict[str, int], ...]:
            return tuple(longest_texts(map(setting_column, part), shown) for part in settings_worth_a_column(shown))

        return _made(self._settings, "shown", asked, widths)  # a run's settings never change

    def _parse_query(self, text: str, records: Sequence[RunRecord]) -> tuple[Query, str]:
        try:
            asked = parse_query(text)
            asked.require_known(records)
            self._query = asked
        except QueryError as error:
            return self._query, str(error)
        return self._query, ""

    def _longest(self, records: Sequence[RunRecord]) -> dict[str, int]:
        every = [_made(self._lengths, record.run.id, record, lengths) for record in records]
        return {column.name: max((found[i] for found in every), default=0) for i, column in enumerate(STRETCHING)}


def _made(known: dict[str, tuple[Of, Made]], key: str, of: Of, make: Callable[[Of], Made]) -> Made:
    """What is made of something, the same object as before if it was made of the same."""
    before = known.get(key)
    if before is None or before[0] != of:
        before = known[key] = (of, make(of))
    return before[1]


def _sorted(records: Sequence[RunRecord], field_name: str) -> list[RunRecord]:
    try:
        return sort_runs(records, field_name)
    except ValueError:  # a view state saved by another version
        return sort_runs(records, NEWEST_FIRST)
