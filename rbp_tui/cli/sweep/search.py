"""`rbp sweep --search`: start a search or find the one that goes on, and follow it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rbp_engine.plan.driving import driver_of, log_of, start_driver
from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import Search, check_search, plan_search
from rbp_engine.plan.states import PointState
from rbp_engine.plan.study import TrialState, importance
from rbp_engine.plan.trials import TrialReader, TrialRun, best_of, counts_of, plan_to_the_end
from rbp_engine.printable import one_line
from rbp_tui.cli.output import print_json, print_line, say
from rbp_tui.cli.sweep.search_following import follow_search
from rbp_tui.cli.sweep.search_text import plain_trial, print_search, say_left_out, say_search
from rbp_tui.cli.sweep.text import say_cost
from rbp_tui.cli.trust import once_trusted

Estimates = Callable[[SweepPlan, Sequence[PointState]], Estimate | None]


def run_search(
    asked: SweepRequest,
    estimate: Estimates,
    *,
    status: bool,
    dry_run: bool,
    detach: bool,
    trust: bool,
    as_json: bool,
) -> int:
    """Start a search, or go on with it, and follow it to its end; the exit code."""
    search = plan_search(asked)
    reader = TrialReader(search)
    trials = reader.read()
    if status:
        _show(reader, trials, as_json=as_json)
        return 0
    if not dry_run:
        once_trusted(lambda: check_search(search), trust=trust)
    say_search(search, trials)
    say_left_out(reader.problems)
    expected = estimate(*plan_to_the_end(search, trials))
    if expected is not None:
        say_cost(expected, at_most=bool(search.space.pruner))
    if dry_run:
        if as_json:
            print_json(_document(reader, trials) | {"cost": None if expected is None else asdict(expected)})
        return 0
    if not start_driver(asked, search) and (driver := driver_of(search)) is not None:
        say("  it goes on already, in {}", driver)
    if detach:
        return _report(search, as_json=as_json)
    end = follow_search(search, reader, as_json=as_json)
    trials = reader.read()
    if not as_json:
        _show(reader, trials, as_json=False)
    if end is None:
        say(
            "[bold red]the process that drives it was killed[/]; the same command goes on  (its log: {})",
            log_of(search),
        )
        return 4
    say("[yellow]{}[/]" if end.failed else "  {}", end.ended)
    if any(one.trial.state is TrialState.OPEN for one in trials):
        return 4
    failed = end.failed or reader.problems or any(one.trial.state is TrialState.FAILED for one in trials)
    return 1 if failed else 0


def _report(search: Search, *, as_json: bool) -> int:
    if as_json:
        driver = driver_of(search)
        print_json({"sweep": search.name, "pid": None if driver is None else driver.pid})
    else:
        print_line(one_line(search.name))
        say("[dim]it goes on by itself; the same command with --status shows how far it is[/]")
    return 0


def _show(reader: TrialReader, trials: Sequence[TrialRun], *, as_json: bool) -> None:
    if as_json:
        print_json(_document(reader, trials))
    else:
        print_search(reader.search, trials)
        say_left_out(reader.problems)


def _document(reader: TrialReader, trials: Sequence[TrialRun]) -> dict[str, Any]:
    search = reader.search
    driver, best = driver_of(search), best_of(trials)
    return {
        "sweep": search.name,
        "trials_wanted": search.trials,
        "counts": counts_of(trials),
        "keys": [one.key for one in search.space.settings],
        "held_out": search.held_out,
        "prune": search.space.pruner or None,
        "best_trial": None if best is None else best.trial.number,
        "importance": importance(search.space, [one.trial for one in trials]),
        "pid": None if driver is None else driver.pid,
        "trials": [plain_trial(one) for one in trials],
        "left_out": reader.problems,
    }
