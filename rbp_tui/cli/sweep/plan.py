"""`rbp sweep` without a search: what is missing is created, what has stopped is resumed, and all of it is followed."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from rich.console import RenderableType
from rich.live import Live

from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.start import check, resume, start_points
from rbp_engine.plan.states import PointState, Standing, counts, standing_of, states_of
from rbp_engine.report.sweep_table import best_row, plain_row, sweep_rows
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import console, print_json
from rbp_tui.cli.sweep.cost import estimate_of
from rbp_tui.cli.sweep.text import print_table, say_cost, say_not_resumed, say_plan, sweep_table
from rbp_tui.cli.train.following import follow_live, report_queued
from rbp_tui.cli.train.live import LiveTable
from rbp_tui.cli.train.views import View
from rbp_tui.cli.trust import once_trusted

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
        lost = [one.record for one in states_of(plan) if one.record and one.record.verdict.cause is Cause.LOST_PROCESS]
        left = [record for record in lost if not last_attempt(record.run)]
        waiting = []
        for run in (record.run for record in left if record.run not in begun):
            begun.add(run)
            try:
                resume(plan.request, run)
            except RunError as refused:
                say_not_resumed(refused)
            else:
                waiting.append(run)


@contextmanager
def _live_table(plan: SweepPlan, states: Sequence[PointState], hint: str) -> Iterator[View]:
    """The table of the sweep, redrawn in place; at the end it makes room for the last one, which is printed."""
    known = list(states)

    def draw(records: Sequence[RunRecord]) -> RenderableType:
        news = {record.run: record for record in records}
        known[:] = [_updated(state, news) for state in known]
        return sweep_table(plan, sweep_rows(plan, known), most=live.console.height - ROOM_FOR_OTHERS)

    with Live(console=console(), auto_refresh=False) as live:
        yield LiveTable(live, hint, draw, stays=False)


def _updated(state: PointState, news: dict[RunDirectory, RunRecord]) -> PointState:
    record = news.get(state.record.run) if state.record else None
    return state if record is None else replace(state, record=record, standing=standing_of(record.verdict))


def run_plan(
    plan: SweepPlan,
    states: Sequence[PointState],
    *,
    measure: bool,
    dry_run: bool,
    detach: bool,
    trust: bool,
    as_json: bool,
) -> int:
    """Say what a sweep will do and take, and unless `dry_run` do it; the exit code. `measure` what is not known."""
    if not dry_run:
        once_trusted(lambda: check(plan), trust=trust)
    say_plan(plan, states)
    expected = estimate_of(plan, states, measure=measure)
    if expected is not None:
        say_cost(expected)
    if not dry_run:
        return _train(plan, states, detach=detach, as_json=as_json, trust=trust)
    if as_json:
        print_json(_document(plan, states, expected))
    return 0


def show_plan(plan: SweepPlan, states: Sequence[PointState], *, as_json: bool) -> None:
    """Print the table of settings and results."""
    if as_json:
        print_json(_document(plan, states, None))
    else:
        print_table(plan, states)


def _train(plan: SweepPlan, states: Sequence[PointState], *, detach: bool, as_json: bool, trust: bool) -> int:
    """Start what is missing, follow it to the end, and print the table; the exit code."""

    runs = start_points(plan, states, say_not_resumed, functools.partial(once_trusted, trust=trust))
    if detach and (runs or as_json):
        return report_queued(runs, as_json=as_json)
    follow_sweep(plan, states, runs, as_json=as_json)
    states = states_of(plan)
    if not as_json:
        print_table(plan, states)
    # The worst of the runs: a failure is worse than an end before the end.
    codes = {Standing.DONE: 0, Standing.FAILED: 1}
    return max((codes.get(state.standing, 4) for state in states), key=(0, 4, 1).index)


def _document(plan: SweepPlan, states: Sequence[PointState], expected: Estimate | None) -> dict[str, Any]:
    rows = sweep_rows(plan, states)
    best = best_row(rows)
    return {
        "sweep": plan.name,
        "runs": len(plan.points),
        "counts": counts(states),
        "keys": plan.keys,
        "best_trial": None if best is None else best.trial,
        "cost": None if expected is None else asdict(expected),
        "trials": [plain_row(row) for row in rows],
    }
