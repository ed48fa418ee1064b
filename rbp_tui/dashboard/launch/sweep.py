"""The launch form's fields as a sweep: several values of settings, a range, or what the preset itself varies."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rich.text import Text

from rbp_engine.errors import UserError
from rbp_engine.plan.driving import start_driver
from rbp_engine.plan.points import SweepPlan, plan_sweep
from rbp_engine.plan.request import SweepRequest, parse_words, varies
from rbp_engine.plan.search import Search, plan_search
from rbp_engine.plan.start import check, check_preset, start_points
from rbp_engine.plan.states import states_among, states_of
from rbp_engine.preset.sweep.section import SEARCHES, SweepSection
from rbp_engine.run.request import LaunchRequest, parse_seeds
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.launch.typed_request import TypedRequest
from rbp_tui.text import format as fmt
from rbp_tui.text.sweep_text import (
    NOT_HELD_OUT,
    failed_count,
    objective_text,
    plan_text,
    range_text,
    search_text,
    standings_text,
)

#: In the field: the sweep of the preset, or of the settings.
YES = "yes"
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class TypedSweep:
    """A sweep that can be started: a plan of all its runs, or a search, which chooses them as it goes."""

    typed: TypedRequest
    asked: SweepRequest
    plan: SweepPlan | None = None
    search: Search | None = None

    @property
    def name(self) -> str:
        """What its runs are found by."""
        return self.search.name if self.search else self.plan.name if self.plan else ""

    def check(self) -> None:
        """Raise UserError if it cannot be started here."""
        if self.search is not None:
            check_preset(self.search.request, self.search.base)
        elif self.plan is not None:
            check(self.plan)


def parse_sweep_field(text: str) -> tuple[str, int | None]:
    """The field as typed, `yes`, `20`, `tpe` or `tpe 20`: by what to search, if at all, and how often to draw or try.

    Raises UserError.
    """
    words = text.split()
    search = words.pop(0) if words and words[0] in SEARCHES else ""
    if words == [YES] and not search:
        words = []
    if len(words) > 1 or not all(re.fullmatch("[1-9][0-9]{0,3}", word) for word in words):
        raise UserError(
            f"sweep: expected {YES}, a number of draws as 20, or a search as {SEARCHES[0]} 20; got '{text.strip()}'"
        )
    return search, int(words[0]) if words else None


def is_sweep(typed: TypedRequest) -> bool:
    """Whether the fields ask for a sweep, right or wrong."""
    try:
        words = shlex.split(typed.overrides)
    except ValueError:
        words = []
    return bool(typed.sweep.strip()) or any(map(varies, words))


def typed_sweep(typed: TypedRequest) -> TypedSweep:
    """Parse the fields as a sweep. Raises UserError with all that is wrong with them."""
    problems: list[str] = []

    def tried(parse: Callable[[], Parsed]) -> Parsed | None:
        try:
            return parse()
        except UserError as error:
            problems.append(str(error))
            return None

    if typed.run_id.strip():
        problems.append("run id: it names one run, and a sweep makes several")
    seeds = tried(lambda: parse_seeds(typed.seeds)) if typed.seeds.strip() else ()
    field = tried(lambda: parse_sweep_field(typed.sweep))
    base = tried(replace(typed, run_id="", sweep="", seeds="").request)
    found = None
    if base is not None and field is not None and seeds is not None:
        found = tried(lambda: _sweep_of(typed, base, *field, seeds))
    elif base is not None:
        tried(lambda: parse_words(base.overrides))
    if problems or found is None:
        raise UserError("\n".join(problems))
    return found


def _sweep_of(
    typed: TypedRequest, base: LaunchRequest, search: str, trials: int | None, seeds: tuple[int, ...]
) -> TypedSweep:
    asked = SweepRequest(replace(base, seeds=seeds, typed=()), search=search)
    words, section = asked.words, asked.base.sweep or SweepSection()
    searches = bool(search or (section.search and trials is None))
    asked = replace(asked, trials=trials) if searches else replace(asked, draws=trials)
    asked = replace(asked, request=replace(asked.request, typed=(*asked.command, "--detach")))
    if not searches and words.drawn and not (trials or section.trials):
        name = words.drawn[0].name
        raise UserError(f"sweep: {name} has a range; say how often to draw from it, as 20, or {SEARCHES[0]} to search")
    if not searches and trials and not (words.drawn or section.drawn):
        raise UserError(f"sweep: {trials} draws, but no setting has a range to draw from, as lr=0.01..0.5:log")
    if not (searches or words.varied or words.drawn or section != SweepSection()):
        raise UserError("sweep: nothing varies; give a setting several values, as T=2,4, or a range, as lr=0.01..0.5")
    if searches:
        return TypedSweep(typed, asked, search=plan_search(asked))
    return TypedSweep(typed, asked, plan=plan_sweep(asked))


@dataclass(frozen=True)
class Launched:
    """What the form has started: the ids of the runs that are live, and the sweep that they belong to, if any.

    `refused` says of runs of the sweep why they are not resumed.
    """

    runs: list[str]
    sweep: TypedSweep | None = None
    refused: list[str] = field(default_factory=list)


def start_sweep(typed: TypedRequest) -> Launched:
    """Start what is missing of a sweep, and resume what was stopped. A search goes on by itself, so that none of its
    runs is named. Raises UserError."""
    found, refused = typed_sweep(typed), list[str]()
    found.check()
    if found.search is not None:
        start_driver(found.asked, found.search)
        return Launched([], found)
    assert found.plan is not None
    runs = start_points(found.plan, states_of(found.plan), lambda error: refused.append(str(error)))
    return Launched([run.id for run in runs], found, refused)


def describe_sweep(typed: TypedRequest, records: Sequence[RunRecord]) -> Text:
    """How many runs a sweep has, how many of them are done, and the exact command. Raises UserError."""
    text, found = Text(), typed_sweep(typed)
    found.check()
    if found.search is not None:
        _describe_search(text, found.search, records)
    elif found.plan is not None:
        states = states_among(found.plan, records)
        text.append(f"{plan_text(found.plan)}\n{standings_text(states)}\n")
        if failed := failed_count(states):
            text.append(f"⚠ {fmt.counted(failed, 'failed run')}: they are not started again\n", style="yellow")
    return text.append(shlex.join(found.asked.request.typed), style="bold")


def _describe_search(text: Text, search: Search, records: Sequence[RunRecord]) -> None:
    there = {record.run.id for record in records}
    begun = sum(search.run_of(trial).id in there for trial in range(1, search.trials + 1))
    text.append(f"{search_text(search)}{f', {begun} begun' if begun else ''}\n")
    text.append(f"{'; '.join(map(range_text, search.space.settings))}; {objective_text(search)}\n")
    if not search.held_out:
        text.append(f"⚠ {NOT_HELD_OUT}\n", style="yellow")
