"""Follow the runs of a sweep until all have ended, as a table of settings × result that fills."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.start import resume
from rbp_engine.plan.states import PointState, Standing, standing_of, states_of
from rbp_engine.report.sweep_table import sweep_rows
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import console
from rbp_tui.cli.sweep.text import say_not_resumed, sweep_table
from rbp_tui.cli.train.following import follow_live
from rbp_tui.cli.train.live import LiveTable
from rbp_tui.cli.train.views import View

if TYPE_CHECKING:
    from rich.console import RenderableType

# Above the table are the command and the plan, below it the hint.
ROOM_FOR_OTHERS = 4


def follow_sweep(plan: SweepPlan, states: Sequence[PointState], runs: Sequence[RunDirectory], *, as_json: bool) -> None:
    """Follow runs to the end of them all.

    A run of somebody else's sweep that was killed before it could queue the run is lost; it is resumed here, once.
    """
    begun = {state.record.run for state in states if state.record and state.standing is Standing.RESUMABLE}
    waiting = list(runs)
    while waiting:
        now = states_of(plan)
        words = {state.record.run.id: " ".join(state.point.overrides) for state in now if state.record is not None}
        live = functools.partial(_live_table, plan, now)
        follow_live(waiting, as_json=as_json, owner=True, words=words, live=live)
        left = [state.record for state in states_of(plan) if state.record and _never_started(state.record)]
        waiting = []
        for run in (record.run for record in left if record.run not in begun):
            begun.add(run)
            try:
                resume(plan.request, run)
            except RunError as refused:
                say_not_resumed(refused)
            else:
                waiting.append(run)


def _never_started(record: RunRecord) -> bool:
    return record.verdict.cause is Cause.LOST_PROCESS and not last_attempt(record.run)


@contextmanager
def _live_table(plan: SweepPlan, states: Sequence[PointState], hint: str) -> Iterator[View]:
    """The table of the sweep, redrawn in place; at the end it makes room for the last one, which is printed."""
    from rich.live import Live

    known = list(states)

    def draw(records: Sequence[RunRecord]) -> "RenderableType":
        news = {record.run: record for record in records}
        known[:] = [_updated(state, news) for state in known]
        return sweep_table(plan, sweep_rows(plan, known), most=live.console.height - ROOM_FOR_OTHERS)

    with Live(console=console(), auto_refresh=False) as live:
        yield LiveTable(live, hint, draw, stays=False)


def _updated(state: PointState, news: dict[RunDirectory, RunRecord]) -> PointState:
    record = news.get(state.record.run) if state.record else None
    return state if record is None else replace(state, record=record, standing=standing_of(record.verdict))
