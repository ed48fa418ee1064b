"""The runs that count in a report, in experiments, and the reason for each that does not.

An experiment are runs that differ in nothing but what a repetition changes.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rbp_engine.preset import PresetError, read_resolved
from rbp_engine.preset.experiment import LOSS_SCALE, SEED, canonical, is_ignored, of_role
from rbp_engine.preset.own_code import names_of_code, own_file, read_own_code
from rbp_engine.preset.pretrained import TEACHER, digest_of
from rbp_engine.printable import one_line
from rbp_engine.report import names
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import TEST
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import RunJson, read_run_json
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.run_settings import processes_apart, read_settings
from rbp_engine.run.store.store import RunRecord
from rbp_engine.vocabulary import RATE_METHODS

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

#: Beside the settings of a run that was trained longer than it was made for: the epochs that it was made for.
ORIGIN = "origin_epochs"
#: Beside them, of a run of several processes that each had statistics of their own: how many.
PROCESSES = "processes"
#: Begins the name of a hash beside them, of what a setting names.
CONTENTS = "contents of "

AnyRun = TypeVar("AnyRun", bound=RunRecord)
AnyRecordedRun = TypeVar("AnyRecordedRun", bound="RecordedRun")


@dataclass(frozen=True, kw_only=True)
class RecordedRun(RunRecord):
    """A run with everything in its folder that describes it.

    `held_out`: the best epoch was chosen on held-out data, not on the test set. `settings` are the result fields of its
    preset except the seed, by dotted key; `origin` is its `run.json`. `preset` is None of a run that another program
    trains without one, and `settings` are those that it was given.
    """

    preset: "Preset | None"
    settings: dict[str, Any]
    origin: RunJson
    held_out: bool

    @property
    def experiment(self) -> tuple[str, str]:
        """What runs must share to be averaged: the recorded hash, and the settings in case they were edited."""
        # The hash knows contents; and of a teacher nothing else, whatever its run is called.
        told = {key: one for key, one in self.settings.items() if key != TEACHER and not key.startswith(CONTENTS)}
        return self.summary.experiment, json.dumps(canonical(told), sort_keys=True, default=repr)

    @property
    def data(self) -> str:
        """The data set; a dash where another program was not told."""
        return str(self.settings.get("data.name") or "–")

    @property
    def network(self) -> str:
        """The network, as above."""
        return str(self.settings.get("model.name") or "–")

    @property
    def method(self) -> str:
        """The method; where another program was not told, it is the method."""
        return str(self.settings.get("method.name") or one_line(self.summary.program))

    @property
    def timesteps(self) -> int:
        """T, 0 where another program has none."""
        return self.summary.timesteps if self.preset is None else self.preset.method.timesteps


@dataclass(frozen=True)
class Experiment(Generic[AnyRun]):
    """The runs of one experiment: one of each seed, in the order of the seeds.

    `older` are the others, each before the run of its seed that counts. `label` are the settings, by dotted key, that
    tell it from those beside it.
    """

    runs: tuple[AnyRun, ...]
    older: tuple[tuple[AnyRun, AnyRun], ...] = ()
    label: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[AnyRun]) -> "Experiment[AnyRun]":
        """Of several runs of one seed the newest counts, preferring completed ones."""

        def newest(one: AnyRun) -> tuple[bool, float, float, str]:
            return completed(one), one.summary.created, one.summary.updated, one.run.id

        ordered = sorted(runs, key=newest)
        by_seed = {one.summary.seed: one for one in ordered}
        older = [(one, by_seed[one.summary.seed]) for one in ordered if one is not by_seed[one.summary.seed]]
        return cls(tuple(sorted(by_seed.values(), key=seed_of)), tuple(older))

    @property
    def counting(self) -> tuple[AnyRun, ...]:
        """The runs whose accuracies count: the completed ones if there are any, else all."""
        return tuple(one for one in self.runs if completed(one)) or self.runs

    @property
    def first(self) -> AnyRun:
        """The run of the first seed; what an experiment fixes is the same in all."""
        return self.runs[0]

    @property
    def experiment(self) -> str:
        """The recorded hash of its settings."""
        return self.first.summary.experiment

    @property
    def called(self) -> str:
        """The label; of another program the name of its runs, which says more, where they share one."""
        summaries = [one.summary for one in self.runs]
        shared = {one.called for one in summaries if one.program}
        return shared.pop() if len(shared) == 1 else summaries[0].described

    @property
    def mem_peak(self) -> int | None:
        """The largest peak of the runs that count, in bytes."""
        return max((peak for one in self.counting if (peak := one.summary.mem_peak)), default=None)

    def words(self: "Experiment[AnyRecordedRun]", *parts: str) -> list[str]:
        """Its title: these parts of it, in this order, of "data", "network", "method", "timesteps" and "label"."""
        known = {
            "data": [names.data_set(self.first.data)],
            "network": [names.network(self.first.network)],
            "method": [names.method(self.first.method)],
            "timesteps": [f"T={self.first.timesteps}"] if self.first.timesteps else [],
            "label": label_words(self.label),
        }
        return [word for part in parts for word in known[part]]

    @property
    def has_smaller_steps(self: "Experiment[AnyRecordedRun]") -> bool:
        """Whether SGD changes the weights by 1/T of what it does with BPTT's gradients at the same learning rate."""
        first = self.first
        scaled = first.method in RATE_METHODS and first.timesteps > 1 and first.settings.get(LOSS_SCALE) == "1/T"
        return scaled and first.settings.get("optim.name") == "sgd"

    def smaller_steps(self: "Experiment[AnyRecordedRun]") -> Iterator[str]:
        """What a difference to BPTT at one learning rate comes from, beside the method."""
        if self.has_smaller_steps:
            yield (
                "gradients of rate methods, and so SGD's changes of the weights, are 1/T of BPTT's: "
                f"{LOSS_SCALE}=1 makes them equal"
            )

    def remarks(self) -> Iterator[str]:
        """Notes on runs that go on from shorter ones, or have ended early by their guard."""
        summaries = [one.summary for one in self.runs]
        first = summaries[0]
        if first.origin:
            yield (
                f"goes on from a run with epochs={first.origin_epochs} to epoch {first.epochs}: its learning rates are "
                f"of neither schedule, and it is not a run with epochs={first.epochs}"
            )
        early = [one for one in summaries if one.status == "completed" and one.cause == Cause.EARLY_STOP]
        if early:
            ends = ", ".join(f"seed {one.seed} after epoch {one.epoch}" for one in early)
            yield f"early stop: {ends}, of {early[0].epochs}"


def seed_of(one: AnyRun) -> int:
    """The seed of a run, to sort by; that of another program's may be unknown."""
    return one.summary.seed or 0


def by_seed(runs: Iterable[AnyRun], value: Callable[[AnyRun], float | None]) -> dict[int | None, float]:
    """A value of runs of several seeds, where it is known."""
    return {one.summary.seed: known for one in runs if (known := value(one)) is not None}


def label_words(label: Mapping[str, Any]) -> list[str]:
    """The settings of a label in words; an experiment without any was recorded by another version."""
    return [names.setting(key, value) if key else f"recorded as {value}" for key, value in label.items()]


def differing(tables: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that have different values in the tables, or are missing from some, in order."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return [key for key in keys if any(table.get(key) != tables[0].get(key) for table in tables)]


def means_nothing(key: str, table: dict[str, Any]) -> bool:
    """Whether a setting that differs elsewhere says nothing about this experiment."""
    return (key in (ORIGIN, PROCESSES) and key not in table) or is_ignored(key, table.get("method.name", ""))


def completed(one: RunRecord) -> bool:
    """Whether a run has ended as it should."""
    return one.verdict.status == "completed"


@dataclass(frozen=True, kw_only=True)
class ReportedRun(RecordedRun):
    """A run that counts in a report. `last` and `best` are top-1 fractions, measured on the test set."""

    last: float
    best: float | None


@dataclass(frozen=True)
class ExcludedRun:
    """A run that does not count, and the reason."""

    id: str
    reason: str


def collect(
    runs: Iterable[RunDirectory], *, include_unfinished: bool = False
) -> tuple[list[ReportedRun], list[ExcludedRun]]:
    """The runs that count: completed, undamaged, and the newest for each (experiment, seed).

    With `include_unfinished` a run that has not completed counts with the accuracy that it has reached, unless there is
    a completed one of the same experiment and seed.
    """
    entries: list[ReportedRun] = []
    excluded: list[ExcludedRun] = []
    for run in runs:
        read = _read(run, include_unfinished=include_unfinished)
        if isinstance(read, ReportedRun):
            entries.append(read)
        else:
            excluded.append(read)
    experiments = [Experiment.of(runs) for runs in by_experiment(entries)]
    counting = [entry for experiment in experiments for entry in experiment.runs]
    return counting, sorted(excluded + left_out(experiments), key=lambda run: run.id)


def by_experiment(entries: Iterable[AnyRecordedRun]) -> list[list[AnyRecordedRun]]:
    """The runs of each experiment, in the order of their first runs."""
    found: defaultdict[tuple[str, str], list[AnyRecordedRun]] = defaultdict(list)
    for entry in entries:
        found[entry.experiment].append(entry)
    return list(found.values())


def left_out(experiments: Iterable[Experiment[AnyRun]]) -> list[ExcludedRun]:
    """The runs that do not count beside others of their seed, with that as the reason."""
    return [
        ExcludedRun(old.run.id, f"same experiment and seed as {counting.run.id}, which counts")
        for experiment in experiments
        for old, counting in experiment.older
    ]


def read_recorded(run: RunDirectory) -> RecordedRun | ExcludedRun:
    """The records of a run, whatever its status; if they cannot be read, the reason."""
    summary = read_summary(run)
    if summary is None:
        return ExcludedRun(run.id, "run.json is missing or damaged")
    if not _is_sound(summary):
        return ExcludedRun(run.id, "its summary.json has impossible numbers")
    if summary.program:
        return _of_another_program(run, summary)
    try:
        preset = read_resolved(run.preset_toml)
    except PresetError as error:
        first = error.problems[0].message if error.problems else "not readable"
        return ExcludedRun(run.id, f"preset.toml cannot be read: {first}")
    record = RunRecord(run, summary, judge(run, summary))
    return RecordedRun(
        **vars(record),
        preset=preset,
        settings=_settings(record, preset),
        origin=read_run_json(run),
        held_out=preset.train.validation_split > 0,
    )


def _settings(record: RunRecord, preset: "Preset") -> dict[str, Any]:
    """The result fields, what makes other numbers of them, and hashes of the user's own code and of the teacher that
    they name, as the run has them."""
    run, beside = record.run, {ORIGIN: record.summary.origin_epochs, PROCESSES: processes_apart(record)}
    known = of_role(preset, "result") | {key: value for key, value in beside.items() if value}
    with contextlib.suppress(OSError, ValueError):  # what is lost tells nothing
        for (section, name), value in names_of_code(preset).items():
            if own_file(value) and f"{section}.{name}" in known:
                known[f"{CONTENTS}{section}.{name}"] = read_own_code(value, run.code, copied=True).digest[:8]
        if preset.loss.distill:
            known[f"{CONTENTS}{TEACHER}"] = digest_of(run.teacher)[:8]
    return known


def _of_another_program(run: RunDirectory, summary: Summary) -> RecordedRun:
    """The records of a run that was given settings of any kind; those whose names presets have keep them."""
    known = {"train.epochs": summary.epochs} if summary.epochs else {}
    known |= {key: value for section in read_settings(run).sections for key, value in section.items() if key != SEED}
    return RecordedRun(
        run=run,
        summary=summary,
        verdict=judge(run, summary),
        preset=None,
        settings=known,
        origin=read_run_json(run),
        held_out=summary.split != TEST,
    )


def _read(run: RunDirectory, *, include_unfinished: bool) -> ReportedRun | ExcludedRun:
    recorded = read_recorded(run)
    if isinstance(recorded, ExcludedRun):
        return recorded
    summary, verdict = recorded.summary, recorded.verdict
    if verdict.status != "completed" and not include_unfinished:
        return ExcludedRun(run.id, f"{verdict.shown_status}{f': {verdict.reason}' if verdict.reason else ''}")
    # With a held-out split, `last` and `best` of the summary are not on the test set; only `test` may be reported.
    last, best = (summary.test.last, summary.test.best) if recorded.held_out else (summary.last.top1, summary.best.top1)
    if last is None:
        remedy = ": log it as test_acc" if summary.program else ""
        return ExcludedRun(run.id, f"{verdict.shown_status}, without an accuracy on the test set{remedy}")
    return ReportedRun(**vars(recorded), last=last, best=best)


def _is_sound(summary: Summary) -> bool:
    """Whether the accuracies are fractions, which reading a summary does not check."""
    known = (summary.last.top1, summary.best.top1, summary.last.ema_top1, *summary.test.known.values())
    return all(value is None or 0 <= value <= 1 for value in known)
