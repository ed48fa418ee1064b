"""A search: which settings it varies, how often, and how it scores them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rbp_engine.plan.identity import identity_of
from rbp_engine.plan.points import combined, load_each
from rbp_engine.plan.start import check_preset
from rbp_engine.plan.study import SearchSpace, Value, require_optuna
from rbp_engine.plan.words import parse_words
from rbp_engine.preset import LoadedPreset
from rbp_engine.preset.sweep.section import OBJECTIVES, PRUNERS, SEARCHES, Drawn, SweepSection
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, check_run_id, name_in_id
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.files.run_json import SweepRecord
from rbp_engine.run.request import MOST_RUNS, LaunchRequest
from rbp_engine.settings.spelling import did_you_mean

DEFAULT_TRIALS = 20
LONGEST_NAME = 100


@dataclass(frozen=True)
class SearchRequest:
    """What a user says about a search; what is empty is as `[sweep]` of the preset says, or the default.

    `words` are settings: with one value all trials share it, with several or a range the search varies it. `like` is
    the folder of a run that takes the place of the preset.
    """

    preset: str = ""
    like: str = ""
    words: tuple[str, ...] = ()
    runs_dir: str | None = None
    search: str = ""
    trials: int | None = None
    pruner: str = ""
    objective: str = ""
    name: str = ""
    seeds: tuple[int, ...] = ()
    gpus: str | None = None
    processes: int | None = None
    retries: int | None = None
    retry_failed: bool = False
    typed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Search:
    """A search that can be started: `trials` combinations of settings, each trained with every one of the `seeds`.

    `request` is what all of its runs share, `base` the preset that it loads. `objective` is the top-1 of the last epoch
    or of the best one; the score of a trial is its mean over the seeds.
    """

    request: LaunchRequest
    base: LoadedPreset
    space: SearchSpace
    trials: int
    seeds: tuple[int, ...]
    objective: str
    retry_failed: bool = False

    @property
    def name(self) -> str:
        return self.space.name

    @property
    def held_out(self) -> bool:
        """Whether scores are of held-out data, so that the test set has no part in the choice."""
        return self.base.preset.train.validation_split > 0

    def run_of(self, trial: int, seed: int) -> RunDirectory:
        """The folder of a run of a trial, which may not exist. No other run of the search can have it."""
        digits = hashlib.sha256(f"{self.name} {trial} {seed}".encode()).hexdigest()[:4]
        return RunDirectory(self.request.runs / f"{self.name}-{trial:03d}-{digits}")

    def request_of(self, trial: int, seed: int, values: Mapping[str, Value]) -> LaunchRequest:
        """The request that creates the run of a trial with these settings."""
        return replace(
            self.request,
            overrides=(*self.request.overrides, *words_of(self.space, values)),
            seeds=() if self.base.sources.get("run.seed") == "override" else (seed,),  # never both
            run_id=self.run_of(trial, seed).id,
            sweep=SweepRecord(one_line(self.name), trial),
        )


def search_request(
    request: LaunchRequest,
    words: tuple[str, ...],
    *,
    search: str = "",
    trials: int | None = None,
    pruner: str = "",
    objective: str = "",
    name: str = "",
    retry_failed: bool = False,
) -> SearchRequest:
    """The request for a search whose runs are to be as `request` says, with these settings."""
    return SearchRequest(
        preset=request.preset,
        like="" if request.original is None else str(request.original.path),
        words=words,
        runs_dir=None if request.runs_dir is None else str(request.runs_dir),
        search=search,
        trials=trials,
        pruner=pruner,
        objective=objective,
        name=name,
        seeds=request.seeds,
        gpus=request.gpus,
        processes=None if request.resources is None else request.resources.processes,
        retries=request.retries,
        retry_failed=retry_failed,
        typed=request.typed,
    )


def check_search(search: Search) -> None:
    """Raise UserError if a trial could not be started here."""
    check_preset(search.request, search.base)


def plan_search(request: SearchRequest) -> Search:
    """The search that is asked for. Raises UserError for anything that is invalid or contradictory."""
    require_optuna()
    for option, value, known in (
        ("--search", request.search, SEARCHES),
        ("--prune", request.pruner, PRUNERS),
        ("--objective", request.objective, OBJECTIVES),
    ):
        if value and value not in known:
            raise RunError(f"{option} {value}: expected {' or '.join(known)}.{did_you_mean(value, known)}")
    words = parse_words(request.words)
    launch = _launch_request(request, words.fixed)
    base = launch.load()
    written = base.sweep or SweepSection()
    trials = request.trials or written.trials or DEFAULT_TRIALS
    section = combined(written, words, trials=trials if written.drawn or words.drawn else None)
    if section.listed:
        raise RunError("a search varies each setting by itself: [[sweep.list]] is for a sweep without one")
    settings = (*(Drawn(axis.name, axis.values) for axis in section.grid), *section.drawn)
    seed_is_typed = base.sources.get("run.seed") == "override"
    if request.seeds and seed_is_typed:
        raise RunError("both --seeds and seed= are given: leave one of them out")
    seeds = request.seeds or (() if seed_is_typed else section.seeds) or (base.preset.run.seed,)
    pruner, objective = request.pruner or section.prune, request.objective or section.objective or "last"
    _refuse_contradictions(settings, seeds, trials, pruner)
    load_each(launch, _ends(settings))  # a problem of any of them is told before the search begins
    kind = request.search or section.search or SEARCHES[0]
    digest = _digest(base, settings, seeds, pruner, objective)
    name = request.name or f"{name_in_id(base.name)}-{kind}-{digest[:4]}"
    if len(name) > LONGEST_NAME:
        raise RunError(f"--name: at most {LONGEST_NAME} characters, got {len(name)}")
    try:
        check_run_id(name)
    except RunError as error:
        raise RunError(f"--name: the ids of all trials begin with it, and {error}") from None
    space = SearchSpace(name, settings, pruner, base.preset.train.epochs)
    return Search(launch, base, space, trials, seeds, objective, request.retry_failed)


def _launch_request(request: SearchRequest, fixed: tuple[str, ...]) -> LaunchRequest:
    """What the runs of all trials share."""
    launch = LaunchRequest.like(RunDirectory(Path(request.like))) if request.like else LaunchRequest(request.preset)
    return replace(
        launch,
        overrides=fixed,
        runs_dir=launch.runs_dir if request.runs_dir is None else Path(request.runs_dir),
        resources=launch.resources if request.processes is None else Resources(processes=request.processes),
        gpus=request.gpus or launch.gpus or "auto",
        retries=launch.retries if request.retries is None else request.retries,
        typed=request.typed,
    )


def words_of(space: SearchSpace, values: Mapping[str, Value]) -> tuple[str, ...]:
    """The settings of a trial as override words."""
    return tuple(
        f"{one.name}={values[one.key]}" if one.choices else one.word_of(float(values[one.key]))
        for one in space.settings
    )


def _refuse_contradictions(settings: tuple[Drawn, ...], seeds: tuple[int, ...], trials: int, pruner: str) -> None:
    if not settings:
        raise RunError("there is nothing to search: give a setting a range, as lr=0.01..0.5:log, or several values")
    if trials * len(seeds) > MOST_RUNS:
        raise RunError(f"a search has at most {MOST_RUNS} runs, and this one would have {trials * len(seeds)}")
    if pruner and len(seeds) > 1:
        raise RunError(
            f"--prune {pruner} judges a trial by one run, epoch by epoch, and there are {len(seeds)} seeds: "
            "leave --prune out, or search with one seed and train the best settings with others"
        )
    if pruner and any(one.key == "train.epochs" for one in settings):
        raise RunError(f"--prune {pruner} compares trials epoch by epoch: leave epochs out of what is searched")


def _ends(settings: tuple[Drawn, ...]) -> Iterator[tuple[str, ...]]:
    """Combinations that contain both ends of each range and each choice, as words."""
    ends = [
        [f"{one.name}={choice}" for choice in one.choices] or [one.word_of(one.low), one.word_of(one.high)]
        for one in settings
    ]
    for number in range(max(map(len, ends))):
        yield tuple(words[min(number, len(words) - 1)] for words in ends)


def _digest(
    base: LoadedPreset, settings: tuple[Drawn, ...], seeds: tuple[int, ...], pruner: str, objective: str
) -> str:
    """What makes it another search, with trials of its own; that there are to be more of them does not."""
    text = json.dumps([identity_of(base), [asdict(one) for one in settings], seeds, pruner, objective])
    return hashlib.sha256(text.encode()).hexdigest()
