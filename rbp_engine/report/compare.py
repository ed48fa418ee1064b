"""Compare several runs: one line per experiment, and what differs between them.

Unlike a report, a comparison also takes incomplete runs, with the accuracy that they have reached on their validation
data, because it is made while the work is in progress.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rbp_engine.printable import one_line
from rbp_engine.report.collect import (
    ORIGIN,
    PROCESSES,
    ExcludedRun,
    Experiment,
    RecordedRun,
    by_experiment,
    by_seed,
    completed,
    differing,
    left_out,
    means_nothing,
    read_recorded,
    seed_of,
)
from rbp_engine.report.conditions import conditions
from rbp_engine.report.spread import Judged, Spread, judge_differences, mean_of_known, paired, spread_of_known
from rbp_engine.run.files.attempts import most_processes
from rbp_engine.run.files.layout import RunDirectory

#: Settings that the title of an experiment always shows.
IN_TITLE = ("method.name", "method.timesteps")
TITLE_SETTINGS = 3


@dataclass(frozen=True, kw_only=True)
class Group(Experiment[RecordedRun]):
    """An experiment, or a single run, if each run is its own group.

    `last` and `best` are top-1 fractions of the `counting` runs: the complete ones if there are any. The differences
    are this experiment minus the baseline, over the seeds that both have; `judged` is what is shown of the last one, if
    that was asked. Unknown values are None. `epoch_s` and `samples_per_s` are of training without evaluation.
    """

    title: str
    is_baseline: bool
    last: Spread | None
    best: Spread | None
    last_difference: Spread | None
    best_difference: Spread | None
    epoch_s: float | None
    samples_per_s: float | None
    notes: tuple[str, ...]
    judged: Judged | None = None


@dataclass(frozen=True)
class Difference:
    """A setting or condition that differs between experiments, with its value for each group.

    `role` is that of the setting, "result" or "cost", or "conditions" if it is not in a preset, like host and device.
    """

    key: str
    role: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """The groups, by default the baseline first, the others in the order of the given runs; with `each_run` each is
    one run.
    """

    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    excluded: tuple[ExcludedRun, ...]
    each_run: bool = False

    @property
    def baseline_title(self) -> str:
        """The title of the experiment that the others are measured against; empty if there are no groups."""
        title = next((group.title for group in self.groups if group.is_baseline), "")
        return title.rpartition(" · seed")[0] if self.each_run else title


def compare(
    runs: Iterable[RunDirectory],
    baseline: RunDirectory | None = None,
    *,
    each_run: bool = False,
    margin: float | None = None,
) -> Comparison:
    """Group runs by experiment; the baseline is the experiment of the run `baseline`, by default the first one with a
    completed run, else the first; those without any then come last.

    Of several runs of one experiment and seed the newest counts, preferring complete ones. With `each_run` every run is
    its own group, compared with the baseline's run of the same seed. With a `margin`, a fraction, the differences of
    the last accuracies are judged, all together. Reads only summaries, presets and the start of the events, so that it
    is cheap to call again while the runs are in progress.
    """
    directories = list(dict.fromkeys([*([baseline] if baseline else []), *runs]))
    read = [read_recorded(run) for run in directories]
    known = [one for one in read if isinstance(one, RecordedRun)]
    excluded = [one for one in read if isinstance(one, ExcludedRun)]
    every = by_experiment(known)
    if baseline is None:
        every.sort(key=lambda members: not any(map(completed, members)))  # stable
    experiments = [Experiment.of(members) for members in every]
    groups = experiments
    if each_run:
        groups = [Experiment((one,)) for members in every for one in sorted(members, key=seed_of)]
    titles = _titles(groups, each_run=each_run)
    bptt = any(one.first.method == "bptt" for one in experiments)
    made = tuple(
        _group(group, title, experiments[0], beside_bptt=bptt) for group, title in zip(groups, titles, strict=True)
    )
    if margin is not None:
        judged = judge_differences([group.last_difference for group in made], margin)
        made = tuple(replace(group, judged=its) for group, its in zip(made, judged, strict=True))
    excluded += [] if each_run else left_out(experiments)
    return Comparison(made, tuple(_differences(groups)), tuple(excluded), each_run)


def _group(
    group: Experiment[RecordedRun], title: str, baseline: Experiment[RecordedRun], *, beside_bptt: bool
) -> Group:
    is_baseline = group.first.experiment == baseline.first.experiment
    last, best = _accuracies(group, "last"), _accuracies(group, "best")
    theirs = _accuracies(baseline, "last")
    return Group(
        **vars(group),
        title=title,
        is_baseline=is_baseline,
        last=spread_of_known(last.values()),
        best=spread_of_known(best.values()),
        last_difference=None if is_baseline else paired(last, theirs),
        best_difference=None if is_baseline else paired(best, _accuracies(baseline, "best")),
        epoch_s=mean_of_known(map(_epoch_s, group.counting)),
        samples_per_s=_samples_per_s(group),
        notes=(
            *_notes(group),
            *([] if is_baseline else _unpaired(last, theirs)),
            *_other_data(group.first.data, baseline.first.data),
            *(group.smaller_steps() if beside_bptt else []),
        ),
    )


def _accuracies(group: Experiment[RecordedRun], which: str) -> dict[int | None, float]:
    """The top-1 of each seed that has one."""
    return by_seed(group.counting, lambda one: getattr(one.summary, which).top1)


def _epoch_s(one: RecordedRun) -> float | None:
    """Seconds of training per epoch, without evaluations."""
    summary = one.summary
    epochs = summary.step / summary.steps_per_epoch if summary.steps_per_epoch else summary.epoch
    return summary.trained_s / epochs if epochs and summary.trained_s else None


def _samples_per_s(group: Experiment[RecordedRun]) -> float | None:
    """Of the mean time of a sample, as the mean time of a step is that of a report."""
    speeds = (one.summary.samples_per_s for one in group.counting)
    mean_s = mean_of_known(1.0 / speed for speed in speeds if speed)
    return 1.0 / mean_s if mean_s else None


def _unpaired(ours: dict[int | None, float], theirs: dict[int | None, float]) -> Iterable[str]:
    """A note on the seeds that the differences cover, unless they cover all."""
    shared = sorted(seed for seed in ours if seed is not None and seed in theirs)
    if shared and len(shared) < len(ours):
        seeds = f"seed{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
        yield f"its difference is over {seeds} only, which the baseline has too"
    elif ours and theirs and not shared:
        yield "its difference is unknown: it shares no seed with the baseline"


def _other_data(ours: str, theirs: str) -> Iterable[str]:
    """A note that a difference between data sets is none between methods."""
    if ours != theirs and "–" not in (ours, theirs):
        yield f"its difference is one of data: {one_line(ours)}, and for the baseline {one_line(theirs)}"


def _titles(groups: Sequence[Experiment[RecordedRun]], *, each_run: bool) -> list[str]:
    """Label, method and T of each experiment, and other differing settings if they are few."""
    # The label of a run that was trained longer says so already.
    others = [key for key in _differing_settings(groups) if key not in (*IN_TITLE, ORIGIN)]
    titles = []
    for group in groups:
        first, settings = group.first.summary, group.first.settings
        told = others if len(others) <= TITLE_SETTINGS else ()
        shown = (None, *first.label.split(" · "))
        telling = (key for key in told if not means_nothing(key, settings))
        named = replace(group, label={key: value for key in telling if (value := settings.get(key)) not in shown})
        # What another program is called, its label says already.
        words = named.words(*(["method"] if first.method else []), "timesteps", "label")
        titles.append(" · ".join([one_line(group.called), *words, *([f"seed {first.seed}"] if each_run else [])]))
    # Equal titles: the user's own code or the version of rbp has changed, or runs are shown separately.
    return [
        f"{title} · {group.first.run.id if each_run else group.first.summary.experiment[:8]}"
        if titles.count(title) > 1
        else title
        for title, group in zip(titles, groups, strict=True)
    ]


def _notes(group: Experiment[RecordedRun]) -> Iterable[str]:
    beside = ", not in the means" if any(completed(one) for one in group.runs) else ""
    for one in group.runs:
        if not completed(one):
            summary, status = one.summary, one.verdict.shown_status
            yield f"seed {summary.seed} is {status} at epoch {summary.epoch} of {summary.epochs}{beside}"
    yield from group.remarks()
    if group.first.held_out:
        yield "accuracies are those of held-out data"
    if (most := max(most_processes(one.run) for one in group.counting)) > 1:
        yield f"memory is that of one of {most} processes"


def _differences(groups: Sequence[Experiment[RecordedRun]]) -> Iterable[Difference]:
    settings = [group.first.settings for group in groups]
    results = _differing_settings(groups)
    yield from (_difference(key, "result", settings) for key in results)
    merged = [_merged([conditions(one) for one in group.runs]) for group in groups]
    yield from (
        _difference(key, "cost" if "." in key else "conditions", merged)
        for key in _differing(groups, merged)
        if key not in results
    )


def _differing_settings(groups: Sequence[Experiment[RecordedRun]]) -> list[str]:
    return _differing(groups, [group.first.settings for group in groups])


def _differing(groups: Sequence[Experiment[RecordedRun]], tables: Sequence[dict[str, Any]]) -> list[str]:
    """The keys in which the tables of the groups differ.

    What another program was not given may be there as in the others or not, and what only it was given means nothing
    to them: between its runs and those of rbp, only what both have is a difference.
    """
    foreign = [group.first.preset is None for group in groups]
    kinds = [[table for table, one in zip(tables, foreign, strict=True) if one is kind] for kind in (False, True)]
    apart = {key for kind in kinds for key in differing(kind)}
    having = {key: [{key: table[key]} for table in tables if key in table] for key in differing(tables)}
    return [key for key, known in having.items() if key in apart or differing(known)]


def _difference(key: str, role: str, tables: Sequence[dict[str, Any]]) -> Difference:
    absent = {PROCESSES: 1}.get(key)
    return Difference(key, role, tuple(absent if means_nothing(key, table) else table.get(key) for table in tables))


def _merged(tables: Sequence[dict[str, str]]) -> dict[str, str]:
    """The conditions of all runs of an experiment, each value once."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: ", ".join(dict.fromkeys(table[key] for table in tables if key in table)) for key in keys}
