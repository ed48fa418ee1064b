"""`rbp sweep` without a search: what is missing is created, what has stopped is resumed, and all of it is followed."""

import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.start import check, start_points
from rbp_engine.plan.states import PointState, Standing, counts, states_of
from rbp_engine.report.sweep_table import best_row, plain_row, sweep_rows
from rbp_tui.cli.output import print_json
from rbp_tui.cli.sweep.cost import estimate_of
from rbp_tui.cli.sweep.following import follow_sweep
from rbp_tui.cli.sweep.text import print_table, say_cost, say_not_resumed, say_plan
from rbp_tui.cli.train.following import report_queued
from rbp_tui.cli.trust import once_trusted


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
    return _exit_code(states)


def _exit_code(states: Sequence[PointState]) -> int:
    """The worst of the runs: a failure is worse than an end before the end."""
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
