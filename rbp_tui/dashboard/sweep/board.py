"""What the table of a sweep shows, made from the records that the dashboard has anyway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.plan.driving import driver_of, end_of
from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.search import Search
from rbp_engine.plan.states import read_sweep, states_among
from rbp_engine.report.sweep_table import SweepRow, best_row, rank, sweep_rows
from rbp_engine.run.store.store import RunRecord
from rbp_tui.text.sweep_text import plan_text, search_text, standings_text


@dataclass(frozen=True)
class SweepSource:
    """What is known of a sweep: its plan, or its search, or only the name that its runs carry."""

    name: str
    plan: SweepPlan | None = None
    search: Search | None = None


@dataclass(frozen=True)
class SweepBoard:
    """A sweep as of a moment: its rows by trial, what it is, and how it stands.

    The best row is the first, then come those with the most seeds done, then the best of them.
    `driver` says what the process that drives a search does, or how that has ended; `problem` why nothing can be shown.
    """

    rows: Mapping[int, SweepRow] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    best: int | None = None
    about: str = ""
    standings: str = ""
    driver: str = ""
    problem: str = ""


def read_board(source: SweepSource, runs: Path, records: Sequence[RunRecord]) -> SweepBoard:
    """The sweep among the records of all runs. Of their files it reads what it has not read before."""
    try:
        if source.plan is not None:
            plan, states = source.plan, states_among(source.plan, records)
        else:
            keys = [one.key for one in source.search.space.settings] if source.search else []
            plan, states = read_sweep(source.name, runs, records, keys)
    except UserError as error:
        return SweepBoard(problem=str(error))
    rows = sweep_rows(plan, states)
    driver = "" if source.search is None else _driver_text(source.search)
    if not rows:
        about = "" if source.search is None else search_text(source.search)
        return SweepBoard(about=about, driver=driver)
    found = best_row(rows)
    best = None if found is None else found.trial
    by_trial = {row.trial: row for row in sorted(rows, key=rank, reverse=True)}
    about = plan_text(plan) if source.search is None else f"{len(rows)} of {search_text(source.search)}"
    return SweepBoard(by_trial, plan.keys, best, about, standings_text(states), driver)


def _driver_text(search: Search) -> str:
    if driver := driver_of(search):
        return f"it goes on, in {driver}"
    end = end_of(search)
    return str(end.ended) if end else "nothing drives it now"
