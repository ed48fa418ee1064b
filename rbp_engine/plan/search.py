"""A search: which settings it varies, how often, and how it scores them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from rbp_engine.plan.points import load_each
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.study import SearchSpace, Value, require_optuna
from rbp_engine.preset import LoadedPreset
from rbp_engine.preset.sweep.section import PRUNERS, SEARCHES, Varied
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, check_run_id, name_in_id
from rbp_engine.run.files.run_json import SweepRecord
from rbp_engine.run.request import MOST_RUNS, LaunchRequest
from rbp_engine.settings.spelling import did_you_mean

DEFAULT_TRIALS = 20
LONGEST_NAME = 100


@dataclass(frozen=True)
class Search:
    """A search that can be started: `trials` combinations of settings, each trained once, with one `seed`.

    `request` is what all of its runs share, `base` the preset that it loads. `ends` are presets with both ends of each
    range and each choice. The score of a trial is its top-1 of the last epoch.
    """

    request: LaunchRequest
    base: LoadedPreset
    space: SearchSpace
    trials: int
    seed: int
    ends: tuple[LoadedPreset, ...]
    retry_failed: bool = False

    @property
    def name(self) -> str:
        return self.space.name

    @property
    def held_out(self) -> bool:
        """Whether scores are of held-out data, so that the test set has no part in the choice."""
        return self.base.preset.train.validation_split > 0

    def run_of(self, trial: int) -> RunDirectory:
        """The folder of the run of a trial, which may not exist. No other run of the search can have it."""
        digits = hashlib.sha256(f"{self.name} {trial}".encode()).hexdigest()[:4]
        return RunDirectory(self.request.options.runs / f"{self.name}-{trial:03d}-{digits}")

    def request_of(self, trial: int, values: Mapping[str, Value]) -> LaunchRequest:
        """The request that creates the run of a trial with these settings."""
        return replace(
            self.request,
            overrides=(*self.request.overrides, *self.space.words_of(values)),
            run_id=self.run_of(trial).id,
            sweep=SweepRecord(one_line(self.name), trial),
        )


def plan_search(asked: SweepRequest) -> Search:
    """The search that is asked for. Raises UserError for anything that is invalid or contradictory."""
    require_optuna()
    for option, value, known in (("--search", asked.search, SEARCHES), ("--prune", asked.pruner, PRUNERS)):
        if value and value not in known:
            raise RunError(f"{option} {value}: expected {' or '.join(known)}.{did_you_mean(value, known)}")
    base, request, section = asked.base, asked.shared, asked.section
    trials = section.trials or DEFAULT_TRIALS
    if section.listed:
        raise RunError("a search varies each setting by itself: [[sweep.list]] is for a sweep without one")
    settings = (*section.grid, *section.drawn)
    seeds = request.seeds_of(base)
    _refuse_contradictions(settings, seeds, trials, section.prune)
    ends = tuple(load_each(request, _ends(settings)))  # any problem in them comes up before the search begins
    digest = _digest(base, settings, seeds[0], section.prune)
    name = asked.name or f"{name_in_id(base.name)}-{section.search or SEARCHES[0]}-{digest[:4]}"
    if len(name) > LONGEST_NAME:
        raise RunError(f"--name: at most {LONGEST_NAME} characters, got {len(name)}")
    try:
        check_run_id(name)
    except RunError as error:
        raise RunError(f"--name: the ids of all trials begin with it, and {error}") from None
    space = SearchSpace(name, settings, section.prune, base.preset.train.epochs)
    return Search(request, base, space, trials, seeds[0], ends, asked.retry_failed)


def _refuse_contradictions(settings: tuple[Varied, ...], seeds: tuple[int, ...], trials: int, pruner: str) -> None:
    if not settings:
        raise RunError("there is nothing to search: give a setting a range, as lr=0.01..0.5:log, or several values")
    if trials > MOST_RUNS:
        raise RunError(f"a search has at most {MOST_RUNS} trials, and this one would have {trials}")
    if len(seeds) > 1:
        raise RunError(
            f"a search trains each trial once, and there are {len(seeds)} seeds: give one, and train the best settings "
            "with others"
        )
    if pruner and any(one.key == "train.epochs" for one in settings):
        raise RunError(f"--prune {pruner} compares trials epoch by epoch: leave epochs out of what is searched")


def _ends(settings: tuple[Varied, ...]) -> Iterator[tuple[str, ...]]:
    """Combinations that contain both ends of each range and each choice, as words."""
    ends = [one.words for one in settings]
    for number in range(max(map(len, ends))):
        yield tuple(words[min(number, len(words) - 1)] for words in ends)


def _digest(base: LoadedPreset, settings: tuple[Varied, ...], seed: int, pruner: str) -> str:
    """What makes it another search, with trials of its own; that there are to be more of them does not."""
    text = json.dumps([base.experiment, [asdict(one) for one in settings], seed, pruner])
    return hashlib.sha256(text.encode()).hexdigest()
