"""A search in words and as a table: its space before it starts, what it has found, and what to type next."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rbp_engine.plan.driving import driver_of
from rbp_engine.plan.search import Search
from rbp_engine.plan.study import FEWEST_FOR_IMPORTANCE, TrialState, importance
from rbp_engine.plan.trials import TrialRun, best_of, counts_of, plan_so_far
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.printable import one_line
from rbp_engine.report.sweep_table import sweep_rows
from rbp_tui.cli.output import print_rich, say
from rbp_tui.cli.sweep.text import query_word, sweep_table
from rbp_tui.cli.train.next_steps import runs_dir_option
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import setting_heading
from rbp_tui.text.run_text import short
from rbp_tui.text.sweep.search import NOT_HELD_OUT, chosen_by, objective_text, range_text, search_text


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
        say("  importance: {} (PED-ANOVA over {} completed trials)", _importance_text(shares), completed)
    elif len(search.space.settings) > 1:
        say("[dim]  importance: from {} completed trials on[/]", FEWEST_FOR_IMPORTANCE)
    if best is not None:
        run, query = best.record.run, query_word(search.name)
        place = runs_dir_option(run, search.request)
        say("  next: rbp ls {}{}  ·  rbp show {}{}", query, place, short(run.id), place)


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
    reason = one.record.verdict.reason
    why = f" ({reason})" if reason else ""
    return f"trial {one.trial.number}: {words}: {one.trial.state}{why}"


def _importance_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{setting_heading(key)} {100 * share:.0f} %" for key, share in shares.items())
