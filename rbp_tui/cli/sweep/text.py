"""A sweep in words and as a table: its plan before it starts, its results, and what to type next."""

import shlex
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from rbp_engine.errors import UserError
from rbp_engine.plan.estimate import Estimate
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.states import PointState, Standing, counts
from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.printable import one_line
from rbp_engine.report.sweep_table import SweepRow, best_row, difference, sweep_rows
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import print_rich, say, say_next
from rbp_tui.cli.train.next_steps import runs_dir_option
from rbp_tui.text import format as fmt
from rbp_tui.text.comparison_columns import difference_text
from rbp_tui.text.sweep_text import (
    cost_text_of,
    failed_count,
    legend,
    plan_text,
    row_words,
    standings_text,
    sweep_columns,
)
from rbp_tui.text.text_table import filled_table

#: Options of a command that do not belong to the one that continues.
ONLY_LOOKS = ("--status", "--dry-run", "--json")
RETRY = "--retry-failed"
#: Of more values, most of the differences to the first one are not what anybody asks for.
MOST_COMPARED = 10
#: More runs than these are not named one by one in a command.
MOST_NAMED = 12


def say_plan(plan: SweepPlan, states: Sequence[PointState]) -> None:
    """How many runs there are, and how they stand."""
    say("[bold]{}[/]: {}", plan.name, plan_text(plan))
    say("  {}", standings_text(states))
    if failed := failed_count(states):
        say("  [yellow]{}[/]", f"{fmt.counted(failed, 'failed run')}: --retry-failed resumes what can be resumed")


def say_not_resumed(why: UserError) -> None:
    """Name a run that is left out, as a colleague's; the others go on."""
    say("[yellow]not resumed:[/] {}", why)


def say_cost(expected: Estimate, *, at_most: bool = False) -> None:
    """What the rest takes, and how that is known; `at_most` if runs may be pruned."""
    for line in cost_text_of(expected, at_most=at_most):
        say("  {}", line)


def print_table(plan: SweepPlan, states: Sequence[PointState]) -> None:
    """The table of settings and results on stdout, and what to type next on stderr."""
    rows = sweep_rows(plan, states)
    print_rich(sweep_table(plan, rows))
    best = best_row(rows)
    if best is not None and len(rows) > 1:
        seeds = f" of {fmt.counted(best.last.count, 'seed')}" if best.last else ""
        say("  best mean{}: {}", seeds, " ".join(row_words(best)) or plan.name)
    for line in _differences(plan, rows):
        say("  {}", line)
    others = _made_by_others(plan, states)
    if others:
        say("  not under {}: {} that something else has created", query_word(plan.name), fmt.counted(others, "run"))
    for line in _next(plan, states, best, others):
        say_next([line])
    if _is_one_setting(plan, rows) and all(row.results for row in rows):
        records = [record for row in rows for record in row.records]
        words = [short_id(record.run.id) for record in records]
        if len(words) > MOST_NAMED:
            experiments = dict.fromkeys(record.summary.experiment for record in records)
            words = [" or ".join(f"experiment:{experiment}" for experiment in experiments)]
        say_next([shlex.join(["rbp", "compare", *words]) + runs_dir_option(records[0].run, plan.request)])


def sweep_table(plan: SweepPlan, rows: Sequence[SweepRow], *, most: int | None = None) -> RenderableType:
    """A row for each combination: its settings, its runs by status, and mean ± deviation over the seeds that are done.

    Of more than `most` rows, those with live runs come first, and the rest is counted.
    """
    shown = list(rows)
    if most is not None and len(rows) > most:
        shown = sorted(rows, key=lambda row: not any(record.verdict.live for record in row.records))[: max(1, most - 1)]
    best = best_row(rows)
    table = filled_table(sweep_columns(shown, plan.keys, best.trial if best else None))
    more = [f"and {len(rows) - len(shown)} more"] if len(shown) < len(rows) else []
    below = "   ".join([*more, *legend(rows)])
    return Group(table, Text(below, style="dim", no_wrap=True, overflow="ellipsis"))


def _is_one_setting(plan: SweepPlan, rows: Sequence[SweepRow]) -> bool:
    """Whether one setting is changed, and nothing else, so that its values are compared seed by seed."""
    return len(plan.keys) == 1 and 1 < len(rows) <= MOST_COMPARED


def _differences(plan: SweepPlan, rows: Sequence[SweepRow]) -> Iterable[str]:
    """The mean difference of each value to the first one over the seeds that both have, with its interval."""
    for row in rows[1:] if _is_one_setting(plan, rows) else ():
        found = {which: difference(row, rows[0], which) for which in ("last", "best")}
        if any(found.values()):
            values = [inside_a_run(one.values[plan.keys[0]]) for one in (row, rows[0])]
            points = ", ".join(f"{which} {difference_text(one)}" for which, one in found.items())
            two = any(one is not None and one.count == 2 for one in found.values())
            last = found["last"]
            none = last is not None and last.interval is not None and abs(last.mean) <= last.interval
            wide = "; of two seeds it is wide, train more" if two else "; no difference is found" if none else ""
            yield f"{' − '.join(values)}: {points} points of top-1 (mean by seed ± 95 % interval{wide})"


def query_word(name: str) -> str:
    """The query for the runs of a sweep, as typed."""
    return shlex.quote(f'sweep="{name}"' if " " in name else f"sweep={name}")


def _made_by_others(plan: SweepPlan, states: Sequence[PointState]) -> int:
    """How many of the runs that count do not have the sweep's name: another sweep has created them, or none."""
    sweeps = [read_run_json(state.record.run).sweep for state in states if state.record is not None]
    return sum(sweep is None or sweep.name != one_line(plan.name) for sweep in sweeps)


def _next(plan: SweepPlan, states: Sequence[PointState], best: SweepRow | None, others: int) -> Iterable[str]:
    """Commands that continue the sweep, or look closer at it; `others` of its runs do not have its name."""
    number = counts(states)
    again = shlex.join(word for word in plan.request.typed if word not in (*ONLY_LOOKS, RETRY))
    if number[Standing.MISSING] or number[Standing.RESUMABLE]:
        yield f"{again}  (continues)"
    failed = [state.record for state in states if state.standing is Standing.FAILED and state.record]
    if failed:
        yield f"rbp logs {short_id(failed[0].run.id)}{runs_dir_option(failed[0].run, plan.request)}  ·  {again} {RETRY}"
    if best is not None:
        newest: RunRecord = best.records[0]
        place, query = runs_dir_option(newest.run, plan.request), query_word(plan.name)
        lists = f"rbp report {query}{place}  ·  rbp ls {query}{place}  ·  "
        yield f"{'' if others else lists}rbp show {short_id(newest.run.id)}{place}"
