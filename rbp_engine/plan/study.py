"""The trials of a search as a study of Optuna, which is rebuilt whenever it is asked, and never stored.

What a trial is given depends on the search, on its number and on the trials before it, and on nothing else: a search
that is started again goes on as if nothing had happened.
"""

import hashlib
import importlib.util
import itertools
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.sweep.section import Varied
from rbp_engine.run.errors import RunError

if TYPE_CHECKING:
    import optuna

#: With fewer completed trials, an importance says more about chance than about a setting.
FEWEST_FOR_IMPORTANCE = 10
MOST_DRAWS = 1000
Value = str | int | float


class TrialState(StrEnum):
    """What is known of a trial: one that has DIVERGED counts as worse than any other, one that has FAILED not at all.

    An OPEN trial is live, or is to be resumed.
    """

    OPEN = "unfinished"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class SearchTrial:
    """A trial of a search, numbered from 1: its settings by dotted key, its score once it has completed, and its scores
    by epoch.

    The value of a setting is a number, or the text of one of its choices. Scores are fractions.
    """

    number: int
    values: dict[str, Value]
    state: TrialState = TrialState.OPEN
    score: float | None = None
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies, and how it judges trials before their end.

    `pruner` is one of PRUNERS, or "" to train every trial for all of its `epochs`. The `name` seeds the sampler.
    """

    name: str
    settings: tuple[Varied, ...]
    pruner: str = ""
    epochs: int = 1

    def words_of(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """The settings of a trial as override words."""
        return tuple(one.word_of(values[one.key]) for one in self.settings)


def require_optuna() -> None:
    """Raise RunError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise RunError("a search needs the package optuna: pip install 'rbp-tui[sweep]'")


def propose(
    space: SearchSpace, trials: Sequence[SearchTrial], number: int, refused: Sequence[dict[str, Value]] = ()
) -> dict[str, Value] | None:
    """The settings of a trial, which none before it has; None if (nearly) all combinations there are have been tried.

    Of `trials` it sees those with a smaller number. `refused` are combinations that cannot be trained.
    """
    optuna = _optuna()
    earlier = [trial for trial in trials if trial.number < number]
    study, _ = _rebuilt(space, earlier, count=number - 1)
    # What other releases of Optuna have as another default is spelled out.
    study.sampler = optuna.samplers.TPESampler(seed=_seed(space, number), multivariate=True, constant_liar=True)
    asked = study.ask({one.key: _distribution(one) for one in space.settings}).params
    tried = {_identity(values) for values in (*(trial.values for trial in earlier), *refused)}
    draws = random.Random(_seed(space, number))
    for values in itertools.chain([asked], (_drawn(space, draws) for _ in range(MOST_DRAWS))):
        rounded = {one.key: _rounded(one, values[one.key]) for one in space.settings}
        if _identity(rounded) not in tried:
            return rounded
    return None


def pruned_after(space: SearchSpace, trials: Sequence[SearchTrial], number: int, judged: int = 0) -> int | None:
    """The epoch after which a trial is to be stopped, None if it goes on; the first `judged` epochs decide nothing.

    Nor does the last: a trial that has been trained for all of its epochs has completed.
    """
    if not space.pruner:
        return None
    record = next(trial for trial in trials if trial.number == number)
    _, asked = _rebuilt(space, trials, left_out=number)
    for epoch, score in sorted(record.scores.items()):
        asked[number].report(score, epoch)
        if asked[number].should_prune() and judged < epoch < space.epochs:
            return epoch
    return None


def importance(space: SearchSpace, trials: Sequence[SearchTrial]) -> dict[str, float]:
    """The share of each setting in what distinguishes the best tenth of the trials from all (PED-ANOVA), largest first.

    Empty with fewer than FEWEST_FOR_IMPORTANCE completed trials.
    """
    if sum(trial.state is TrialState.COMPLETED for trial in trials) < FEWEST_FOR_IMPORTANCE:
        return {}
    optuna = _optuna()
    study, _ = _rebuilt(space, trials)
    found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    keys = sorted((one.key for one in space.settings), key=lambda key: -found.get(key, 0.0))
    return {key: float(found.get(key, 0.0)) for key in keys}


def _optuna() -> Any:
    """The package, imported where it is needed: without a search nobody has to have it. Raises RunError."""
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # It warns of what is experimental in its earlier releases, and of trials that do not differ.
    warnings.filterwarnings("ignore", module=r"optuna\.")
    return optuna


def _rebuilt(
    space: SearchSpace, trials: Sequence[SearchTrial], *, count: int = 0, left_out: int | None = None
) -> "tuple[optuna.Study, dict[int, optuna.Trial]]":
    """The study of these trials, with at least `count` of them, and the trials in it by number.

    A number that is missing is that of a trial that has failed. One trial may be left without its scores.
    """
    optuna = _optuna()
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.MedianPruner(n_startup_trials=5)
    study = optuna.create_study(study_name=space.name, direction="maximize", sampler=sampler, pruner=pruner)
    records = {trial.number: trial for trial in trials}
    distributions = {one.key: _distribution(one) for one in space.settings}
    asked = {}
    for number in range(1, max([count, *records]) + 1):
        if number in records:
            study.enqueue_trial(records[number].values)
            asked[number] = study.ask(distributions)
        else:
            study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    for number, trial in asked.items():
        if number != left_out:
            _tell(study, trial, records[number])
    return study, asked


def _tell(study: "optuna.Study", trial: "optuna.Trial", record: SearchTrial) -> None:
    """Tell a study what is known of a trial."""
    states = {
        TrialState.COMPLETED: _optuna().trial.TrialState.COMPLETE,
        TrialState.PRUNED: _optuna().trial.TrialState.PRUNED,
        TrialState.DIVERGED: _optuna().trial.TrialState.PRUNED,  # one without a score is the worst
        TrialState.FAILED: _optuna().trial.TrialState.FAIL,
    }
    pruned = record.state is TrialState.PRUNED
    for epoch, score in sorted(record.scores.items()) if record.state is not TrialState.DIVERGED else ():
        trial.report(score, epoch)
        # A stop takes a moment: what came after the epoch that decided depends on the clock, and does not count.
        if pruned and trial.should_prune():
            break
    if record.state in states:
        study.tell(trial, record.score if record.state is TrialState.COMPLETED else None, state=states[record.state])


def _distribution(setting: Varied) -> "optuna.distributions.BaseDistribution":
    import optuna

    if setting.values:
        return optuna.distributions.CategoricalDistribution(setting.values)
    if setting.whole:
        return optuna.distributions.IntDistribution(int(setting.low), int(setting.high), log=setting.log)
    return optuna.distributions.FloatDistribution(setting.low, setting.high, log=setting.log)


def _drawn(space: SearchSpace, draws: random.Random) -> dict[str, Value]:
    return {one.key: draws.choice(one.values) if one.values else one.at(draws.random()) for one in space.settings}


def _rounded(setting: Varied, value: Value) -> Value:
    """The value as a run is given it."""
    if setting.values:
        return value
    text = setting.word_of(float(value)).partition("=")[2]
    return int(text) if setting.whole else float(text)


def _identity(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(values.items()))


def _seed(space: SearchSpace, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{space.name} {number}".encode()).digest()[:4])
