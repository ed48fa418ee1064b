"""Several runs beside each other: one line for each experiment, and what differs between them.

Other than a report, a comparison also takes runs that are not complete, and what they have reached on whatever data
they are validated with: it is made while the work goes on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rbp_engine.report.cells import label_words
from rbp_engine.report.collect import LeftOut, Recorded, newest_by_seed, read_recorded
from rbp_engine.report.conditions import conditions
from rbp_engine.report.names import method, one_line
from rbp_engine.report.settings import differing
from rbp_engine.report.spread import Spread, spread
from rbp_engine.run.files.layout import RunDirectory

#: Settings that the title of an experiment shows in words of its own.
IN_TITLE = ("method.name", "method.timesteps")
TITLE_SETTINGS = 3


@dataclass(frozen=True)
class Group:
    """The runs of one experiment, one for each seed; or one of them, where each run stands for itself.

    `last` and `best` are top-1 fractions, of complete runs alone where there is one; the differences are those over the
    seeds that the baseline has, too: this experiment minus the baseline. None where nothing is known. `epoch_s` and
    `samples_per_s` count training alone; memory is bytes and the largest of the runs.
    """

    title: str
    experiment: str
    is_baseline: bool
    runs: tuple[Recorded, ...]
    last: Spread | None
    best: Spread | None
    last_difference: Spread | None
    best_difference: Spread | None
    epoch_s: float | None
    samples_per_s: float | None
    mem_peak: float | None
    notes: tuple[str, ...]

    @property
    def counting(self) -> list[Recorded]:
        """The runs that accuracies are taken of."""
        return _counting(self.runs)


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in all experiments: its values, one for each group.

    `role` is that of the setting, "result" or "cost", or "conditions" for what no preset says, as host and device.
    """

    key: str
    role: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """The groups, the baseline first, else in the order in which runs were named; with `each_run` each is one run."""

    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...]
    each_run: bool = False


def compare(
    runs: Iterable[RunDirectory], baseline: RunDirectory | None = None, *, each_run: bool = False
) -> Comparison:
    """Group runs by experiment; the baseline is the experiment of that run, else of the first one that is named.

    Of several runs of one experiment and seed the newest counts, complete ones before others. With `each_run` every run
    is a group of its own, and differs from the run of the baseline that has its seed. Reads summaries and presets and
    the head of the events, so that it may be called again while the runs go on.
    """
    directories = list(dict.fromkeys([*([baseline] if baseline else []), *runs]))
    read = [read_recorded(run) for run in directories]
    known = [one for one in read if isinstance(one, Recorded)]
    left_out = [one for one in read if isinstance(one, LeftOut)]
    counting, older = newest_by_seed(known)
    by_experiment: dict[tuple[str, str], list[Recorded]] = {one.experiment: [] for one in known}
    for one in known if each_run else counting:
        by_experiment[one.experiment].append(one)
    groups = [sorted(members, key=lambda one: one.summary.seed) for members in by_experiment.values()]
    baseline_runs = [one for one in counting if groups and one.experiment == groups[0][0].experiment]
    if each_run:
        groups = [[one] for members in groups for one in members]
    titles = _titles(groups, each_run=each_run)
    made = tuple(_group(members, title, baseline_runs) for members, title in zip(groups, titles, strict=True))
    return Comparison(made, tuple(_differences(groups)), (*left_out, *([] if each_run else older)), each_run)


def _group(members: list[Recorded], title: str, baseline: list[Recorded]) -> Group:
    is_baseline = members[0].experiment == baseline[0].experiment
    last, best = _accuracies(members, "last"), _accuracies(members, "best")
    theirs = _accuracies(baseline, "last")
    return Group(
        title=title,
        experiment=members[0].summary.experiment,
        is_baseline=is_baseline,
        runs=tuple(members),
        last=_spread(last.values()),
        best=_spread(best.values()),
        last_difference=None if is_baseline else _paired(last, theirs),
        best_difference=None if is_baseline else _paired(best, _accuracies(baseline, "best")),
        epoch_s=_mean([_epoch_s(one) for one in members]),
        samples_per_s=_mean([_samples_per_s(one) for one in members]),
        mem_peak=max((peak for one in members if (peak := one.summary.mem_peak)), default=None),
        notes=(*_notes(members), *([] if is_baseline else _unpaired(last, theirs))),
    )


def _counting(members: Sequence[Recorded]) -> list[Recorded]:
    """Beside complete runs, those that have not ended or ended before do not count."""
    return [one for one in members if one.completed] or list(members)


def _accuracies(members: Sequence[Recorded], which: str) -> dict[int, float]:
    """The top-1 of each seed that has one."""
    found = {one.summary.seed: getattr(one.summary, which).get("top1") for one in _counting(members)}
    return {seed: top1 for seed, top1 in found.items() if top1 is not None}


def _paired(ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
    """The differences by seed: what both seeds share, the order of the data say, is no part of their deviation."""
    return _spread([ours[seed] - theirs[seed] for seed in ours if seed in theirs])


def _spread(values: Iterable[float]) -> Spread | None:
    known = list(values)
    return spread(known) if known else None


def _mean(values: Iterable[float | None]) -> float | None:
    found = _spread(value for value in values if value is not None)
    return found.mean if found else None


def _epoch_s(one: Recorded) -> float | None:
    """Seconds of training, without evaluations, that an epoch takes."""
    summary = one.summary
    if not (summary.step and summary.steps and summary.epochs):
        return None
    return summary.trained_s / summary.step * summary.steps / summary.epochs


def _samples_per_s(one: Recorded) -> float | None:
    if not (one.summary.step and one.summary.trained_s):
        return one.summary.samples_per_s
    return one.preset.data.batch_size * one.summary.step / one.summary.trained_s


def _unpaired(ours: dict[int, float], theirs: dict[int, float]) -> Iterable[str]:
    """Which seeds the differences are without, if they are not those of all."""
    shared = sorted(ours.keys() & theirs.keys())
    if shared and shared != sorted(ours):
        yield f"Δ over the seeds that the baseline has, too: {', '.join(map(str, shared))}"
    elif ours and theirs and not shared:
        yield "no Δ: no seed is the baseline's, too"


def _titles(groups: Sequence[Sequence[Recorded]], *, each_run: bool) -> list[str]:
    """Label, method and T of each experiment, and what else tells it from the others while that is little."""
    tables = [members[0].settings for members in groups]
    others = [key for key in differing(tables) if key not in IN_TITLE] if tables else []
    titles = []
    for members in groups:
        first = members[0].summary
        words = [one_line(first.label), method(first.method), f"T={first.timesteps}"]
        if len(others) <= TITLE_SETTINGS:
            told = first.label.split(" · ")
            words += label_words({key: value for key in others if (value := members[0].settings.get(key)) not in told})
        if each_run:
            words.append(f"seed {first.seed}")
        titles.append(" · ".join(words))
    # The same settings, but the user's own code or the software's version has changed; or the same run again.
    return [
        f"{title} · {members[0].run.id if each_run else members[0].summary.experiment[:8]}"
        if titles.count(title) > 1
        else title
        for title, members in zip(titles, groups, strict=True)
    ]


def _notes(members: Sequence[Recorded]) -> Iterable[str]:
    beside = ", not in the means" if any(one.completed for one in members) else ""
    for one in members:
        if not one.completed:
            summary = one.summary
            yield f"seed {summary.seed} is {one.status} at epoch {summary.epoch} of {summary.epochs}{beside}"
    if members[0].held_out:
        yield "accuracies are those of held-out data"


def _differences(groups: Sequence[Sequence[Recorded]]) -> Iterable[Difference]:
    settings = [members[0].settings for members in groups]
    yield from (_difference(key, "result", settings) for key in differing(settings)) if settings else ()
    merged = [_merged([conditions(one) for one in members]) for members in groups]
    for key in differing(merged) if merged else ():
        yield _difference(key, "cost" if "." in key else "conditions", merged)


def _difference(key: str, role: str, tables: Sequence[dict[str, Any]]) -> Difference:
    return Difference(key, role, tuple(table.get(key) for table in tables))


def _merged(tables: Sequence[dict[str, str]]) -> dict[str, str]:
    """Everything that the runs of an experiment say, each value once."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: ", ".join(dict.fromkeys(table[key] for table in tables if key in table)) for key in keys}
