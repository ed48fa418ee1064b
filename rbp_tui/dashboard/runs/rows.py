"""The rows of the table of runs as text: filtered, sorted and grouped. Independent of the screen."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeAlias

from rbp_engine.run.store.ordering import sort_runs
from rbp_engine.run.store.query import QueryError, parse_query
from rbp_engine.run.store.query_fields import Test
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.dashboard.runs.columns import STRETCHING, PlacedColumn, TableCell, group_cells, lengths, place, run_cells

Cells: TypeAlias = tuple[TableCell, ...]
NEWEST_FIRST = "-created"


@dataclass(frozen=True)
class TableView:
    """The settings of the table: `columns` by name, none for as many as fit `width`; `sort` is a query field."""

    query: str = ""
    sort: str = NEWEST_FIRST
    grouped: bool = False
    columns: tuple[str, ...] = ()
    width: int = 80


@dataclass(frozen=True)
class Rows:
    """`cells` by row, in order; a row is a run by its id or a group by `experiment:…`, of which `groups` has the runs.

    `problem` describes an error in the query; the rows are then those of the last valid one.
    """

    placed: tuple[PlacedColumn, ...] = ()
    cells: Mapping[str, Cells] = field(default_factory=dict)
    records: tuple[RunRecord, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str = ""


class RowMaker:
    """Makes rows repeatedly; unchanged ones are the same objects as before."""

    def __init__(self) -> None:
        self._query = parse_query("")
        self._lengths: dict[str, tuple[RunRecord, tuple[int, ...]]] = {}
        self._placed: tuple[PlacedColumn, ...] = ()
        self._runs: dict[str, tuple[object, Cells]] = {}
        self._groups: dict[str, tuple[list[RunRecord], Cells]] = {}

    def rows(
        self, records: Sequence[RunRecord], view: TableView, marked: AbstractSet[str], trends: Mapping[str, Trend]
    ) -> Rows:
        """The rows of all runs, given oldest first."""
        query, problem = self._parse_query(view.query)
        placed = place(self._longest(records), view.width, view.columns)
        if placed != self._placed:
            self._placed, self._runs, self._groups = placed, {}, {}
        fitting = _sorted([record for record in reversed(records) if query(record)], view.sort)
        groups: dict[str, list[RunRecord]] = {}
        for record in fitting if view.grouped else ():
            groups.setdefault(f"experiment:{record.summary.experiment}", []).append(record)
        cells: dict[str, Cells] = {}
        for name, group in groups.items():
            cells[name] = self._group(name, group)
            cells |= {record.run.id: self._run(record, marked, trends) for record in group}
        if not view.grouped:
            cells = {record.run.id: self._run(record, marked, trends) for record in fitting}
        ids = {name: tuple(record.run.id for record in group) for name, group in groups.items()}
        return Rows(placed, cells, tuple(fitting), ids, problem)

    def _parse_query(self, text: str) -> tuple[Test, str]:
        try:
            self._query = parse_query(text)
        except QueryError as error:
            return self._query, str(error)
        return self._query, ""

    def _longest(self, records: Sequence[RunRecord]) -> dict[str, int]:
        known = self._lengths
        self._lengths = {}
        for record in records:
            before = known.get(record.run.id)
            self._lengths[record.run.id] = before if before and before[0] is record else (record, lengths(record))
        every = [found for _, found in self._lengths.values()]
        return {column.name: max((found[i] for found in every), default=0) for i, column in enumerate(STRETCHING)}

    def _run(self, record: RunRecord, marked: AbstractSet[str], trends: Mapping[str, Trend]) -> Cells:
        run_id = record.run.id
        trend = trends.get(run_id, ())
        shown = (record, run_id in marked, trend)
        before = self._runs.get(run_id)
        if before is None or before[0] != shown:
            before = self._runs[run_id] = (shown, run_cells(record, trend, self._placed, marked=run_id in marked))
        return before[1]

    def _group(self, name: str, group: list[RunRecord]) -> Cells:
        before = self._groups.get(name)
        if before is None or before[0] != group:
            before = self._groups[name] = (group, group_cells(group, self._placed))
        return before[1]


def _sorted(records: Sequence[RunRecord], field_name: str) -> list[RunRecord]:
    try:
        return sort_runs(records, field_name)
    except ValueError:  # a view state saved by another version
        return sort_runs(records, NEWEST_FIRST)
