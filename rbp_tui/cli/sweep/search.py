"""`rbp sweep --search`: start a search or find the one that goes on, follow it, and say what it has found."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import FrameType
from typing import Any

from rbp_engine.plan.driving import SearchEnd, driver_of, end_of, log_of, start_driver, stop_driver
from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import Search, plan_search
from rbp_engine.plan.start import check_preset
from rbp_engine.plan.states import PointState
from rbp_engine.plan.study import FEWEST_FOR_IMPORTANCE, TrialState, importance
from rbp_engine.plan.trials import TrialReader, TrialRun, best_of, counts_of, plan_so_far, plan_to_the_end
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.printable import in_json, one_line
from rbp_engine.report.sweep_table import sweep_rows
from rbp_engine.run.files.layout import RunDirectory, short_id
from rbp_tui.cli.output import print_json, print_line, print_rich, say, say_next
from rbp_tui.cli.sweep.text import query_word, say_cost, sweep_table
from rbp_tui.cli.train.interrupts import AskUser, Interrupts
from rbp_tui.cli.train.next_steps import runs_dir_option
from rbp_tui.cli.trust import once_trusted
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import setting_heading
from rbp_tui.text.sweep_text import NOT_HELD_OUT, chosen_by, objective_text, range_text, search_text

POLL_S = 0.5
Estimates = Callable[[SweepPlan, Sequence[PointState]], Estimate | None]


def say_search(search: Search, trials: Sequence[TrialRun]) -> None:
    """What is searched, with a warning if the test set decides, and how it stands."""
    say("[bold]{}[/]: {}", search.name, search_text(search))
    for setting in search.space.settings:
        say("  {}", range_text(setting))
    say("  {}", objective_text(search))
    if not search.held_out:
        say("  [yellow]{}[/]", NOT_HELD_OUT)
    if trials:
        say("  {}", ", ".join(f"{count} {state}" for state, count in counts_of(trials).items()))


def say_left_out(problems: Mapping[int, str]) -> None:
    """Name the trials that are damaged, or not of the search."""
    for number, why in problems.items():
        say("  [yellow]trial {} is left out:[/] {}", number, why)
    if problems:
        say("[dim]  once its folder is moved away, the same command trains it again[/]")


def print_search(search: Search, trials: Sequence[TrialRun]) -> None:
    """The table of trials on stdout, and what they show and what to type next on stderr."""
    if driver := driver_of(search):
        say("  it goes on, in {}", driver)
    if not trials:
        say("no trial of {} has been started", search.name)
        return
    plan, states = plan_so_far(search, trials)
    print_rich(sweep_table(plan, sweep_rows(plan, states)))
    completed = counts_of(trials).get(TrialState.COMPLETED, 0)
    best = best_of(trials)
    if best is not None:
        words = [inside_a_run(word) for word in search.space.words_of(best.trial.values)]
        say("  best of {}: trial {}, {}", completed, best.trial.number, one_line(shlex.join(words)))
        say("  its last top-1 on {}: {} %", chosen_by(search), fmt.percent(best.trial.score))
    shares = importance(search.space, [one.trial for one in trials])
    if shares:
        say(
            "  importance: {} (PED-ANOVA over {} completed trials)",
            ", ".join(f"{setting_heading(key)} {100 * share:.0f} %" for key, share in shares.items()),
            completed,
        )
    elif len(search.space.settings) > 1:
        say("[dim]  importance: from {} completed trials on[/]", FEWEST_FOR_IMPORTANCE)
    if best is not None:
        run, query = best.record.run, query_word(search.name)
        place = runs_dir_option(run, search.request)
        say_next([f"rbp ls {query}{place}", f"rbp show {short_id(run.id)}{place}"])


def plain_trial(one: TrialRun) -> dict[str, Any]:
    """A trial for JSON."""
    return {
        "trial": one.trial.number,
        "settings": one.trial.values,
        "state": one.trial.state,
        "score": one.trial.score,
        "run": one.record.run.id,
    }


def trial_line(one: TrialRun, search: Search) -> str:
    """How a trial has ended, in a line."""
    words = " ".join(search.space.words_of(one.trial.values))
    if one.trial.score is not None:
        return f"trial {one.trial.number}: {words}: last top-1 {fmt.percent(one.trial.score)} %"
    why = f" ({one.record.verdict.reason})" if one.record.verdict.reason else ""
    return f"trial {one.trial.number}: {words}: {one.trial.state}{why}"


class SearchInterrupts(Interrupts):
    """Signals to a command that follows a search: to stop its runs means to stop the search."""

    def __init__(self, search: Search, reader: TrialReader) -> None:
        super().__init__([])
        self.search = search
        self.reader = reader

    def _say_it_goes_on(self) -> None:
        say("the search goes on: the same command follows it, and with --status shows how far it is")

    def _live(self) -> list[RunDirectory]:
        stop_driver(self.search)  # first, or it would replace the runs by others
        self.runs = [one.record.run for one in self.reader.read()]
        return super()._live()

    def _forward_signal(self, number: int, frame: FrameType | None) -> None:
        self._live()
        super()._forward_signal(number, frame)


def follow_search(search: Search, reader: TrialReader, shown: set[int], *, as_json: bool) -> SearchEnd | None:
    """Print a line for each trial that has ended and is not `shown`, until the search has ended, and return how.

    None if the process that drives it was killed.
    """
    interrupts = SearchInterrupts(search, reader)
    if sys.stdout.isatty() and not as_json:
        say("[dim]a line for each trial that ends; Ctrl-C: leave the search running, stop and save, or kill[/]")
    while True:
        try:
            # Looked for before the trials are read: what it did before its end is then shown.
            driver = driver_of(search)
            trials = reader.read()
            _print_ended(trials, shown, search, as_json=as_json)
            if driver is None and not any(one.record.verdict.live for one in trials):
                return end_of(search)
            interrupts.tick()
            time.sleep(POLL_S)
        except AskUser:
            interrupts.ask()


def _print_ended(trials: Sequence[TrialRun], shown: set[int], search: Search, *, as_json: bool) -> None:
    for one in trials:
        if one.trial.state is not TrialState.OPEN and one.trial.number not in shown:
            text = in_json(json.dumps(plain_trial(one))) if as_json else trial_line(one, search)
            print_line(one_line(text))
            shown.add(one.trial.number)
    sys.stdout.flush()


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
        once_trusted(lambda: check_preset(search.request, search.base), trust=trust)
    say_search(search, trials)
    say_left_out(reader.problems)
    expected = estimate(*plan_to_the_end(search, trials))
    if expected is not None:
        say_cost(expected, at_most=bool(search.space.pruner))
    if dry_run:
        if as_json:
            print_json(_document(reader, trials) | {"cost": None if expected is None else asdict(expected)})
        return 0
    others, shown = not start_driver(asked, search), set[int]()
    if others and (driver := driver_of(search)) is not None:
        say("  it goes on already, in {}, for as many trials as were asked for there", driver)
    if detach:
        return _report(search, as_json=as_json)
    end = follow_search(search, reader, shown, as_json=as_json)
    more = others and end is not None and not end.failed and len(reader.read()) < search.trials
    if more and start_driver(asked, search):
        end = follow_search(search, reader, shown, as_json=as_json)
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
    return 1 if end.failed or reader.problems or any(one.trial.state is TrialState.FAILED for one in trials) else 0


def _report(search: Search, *, as_json: bool) -> int:
    if as_json:
        print_json({"sweep": search.name, "pid": getattr(driver_of(search), "pid", None)})
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
