"""Methods × timesteps × precision × kernel of one network and batch, measured against baselines. Without torch."""

import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from rbp_engine.bench.measure.interleave import OURS, MeasuredSide, StepMeasurement, measure
from rbp_engine.bench.measure.load import processor
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.child import ChildError, Progress, no_progress, stage
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.report import names
from rbp_engine.run.files.run_json import git_state, packages

BPTT = "spikingjelly"
TITLES = {BPTT: "SpikingJelly", "memopt": "memopt", "checkpoint": "torch checkpoint", "ann": "ANN"}
#: The ways in which users can run a baseline: each is measured in all of them, since the best one counts.
LAYOUTS, KERNELS = ("NCHW", "NHWC"), ("eager", "compiled")
BASELINES, ALL = tuple(TITLES), "all"


@dataclass(frozen=True)
class ComparisonRow:
    """One way to train at one T; `layout` is the memory format of a baseline.

    `measured` is None if it could not be measured, and `problem` says why. `time`, `memory` and `prediction` are ratios
    to SpikingJelly's BPTT at its best: to the least figure of its layouts and kernels at the same T and precision.
    `over_floor` is the ratio of the time to that of the step's own convolutions and matrix products. Both ratios of
    times are medians of those within each round. None without a denominator.
    """

    method: str
    timesteps: int
    precision: str
    kernel: str
    layout: str
    batch: int
    measured: StepMeasurement | None
    problem: str = ""
    time: float | None = None
    memory: float | None = None
    over_floor: float | None = None
    prediction: float | None = None

    @property
    def samples_per_s(self) -> float | None:
        return None if self.measured is None else self.batch / self.measured.seconds

    def as_json(self) -> dict[str, Any]:
        flat = {key: value for key, value in asdict(self).items() if key != "measured"}
        return flat | (asdict(self.measured) if self.measured else {}) | {"samples_per_s": self.samples_per_s}


@dataclass(frozen=True)
class Candidate:
    """A way to train that will be measured."""

    loaded: LoadedPreset
    baseline: str = ""
    layout: str = ""

    @property
    def timesteps(self) -> int:
        return self.loaded.preset.method.timesteps

    @property
    def title(self) -> str:
        """What the row is called, as in the table."""
        kernel = self.loaded.preset.train.kernel if self.baseline else ""
        return ", ".join(filter(None, (in_words(self.baseline or self.loaded.preset.method.name), kernel, self.layout)))


def in_words(name: str) -> str:
    """A baseline or a method as tables and figures call it."""
    return TITLES.get(name) or names.method(name)


def baselines(names: Sequence[str]) -> list[str]:
    """The baselines called so; `all` is every one. Raises UserError for a name that there is not."""
    if unknown := [name for name in names if name not in (*BASELINES, ALL)]:
        raise UserError(f"no baseline is called '{unknown[0]}': one of {', '.join(BASELINES)}, or {ALL}")
    return list(BASELINES) if ALL in names else list(names)


def candidates(
    preset: str,
    overrides: Sequence[str],
    *,
    methods: Sequence[str],
    timesteps: Sequence[int],
    precisions: Sequence[str] = (),
    kernels: Sequence[str] = (),
    against: Sequence[str] = BASELINES,
) -> list[Candidate]:
    """All candidates, with baselines first at every T; without precisions, the preset's own is used.

    Baselines are measured in every layout, and in the kernels that are given, both if none are; methods then in the
    preset's own. Raises PresetError for an invalid combination, before anything is measured.
    """

    def load(*words: str) -> LoadedPreset:
        return load_preset(preset, [*overrides, *filter(None, words)])

    found = []
    formats = [f"train.precision={name}" for name in precisions] or [""]
    for steps, precision in itertools.product([f"T={number}" for number in timesteps], formats):
        for name, layout, kernel in itertools.product(against, LAYOUTS, kernels or KERNELS):
            found.append(Candidate(load(steps, precision, f"train.kernel={kernel}"), name, layout))
        for method, kernel in itertools.product(methods, [f"train.kernel={name}" for name in kernels] or [""]):
            found.append(Candidate(load(steps, f"method={method}", precision, kernel)))
    return found


def compare(
    wanted: Sequence[Candidate],
    *,
    rounds: int,
    predictions: bool = False,
    busy: bool = False,
    on_progress: Progress = no_progress,
) -> tuple[list[ComparisonRow], bool]:
    """Measure all candidates, those of one T turn by turn, with `predictions` these, too; on Ctrl-C end early.

    Returns the rows, and whether they are all: a row that Ctrl-C has prevented has a `problem`, another may lack
    figures.
    """
    rows: list[ComparisonRow] = []
    groups = [list(group) for _, group in itertools.groupby(wanted, key=lambda candidate: candidate.timesteps)]
    for number, alike in enumerate(groups):
        with ExitStack() as stack:
            sides = [
                MeasuredSide(
                    stack.enter_context(temporary_run(one.loaded)),
                    one.baseline or OURS,
                    f"T = {one.timesteps}, {one.title}",
                    one.layout,
                )
                for one in alike
            ]
            report = stage(on_progress, number, len(groups))
            results, whole = measure(sides, rounds=rounds, predictions=predictions, busy=busy, on_progress=report)
        rows += rows_of(alike, results)
        if not whole:
            return rows, False
    return rows, True


def rows_of(alike: Sequence[Candidate], results: Sequence[StepMeasurement | ChildError]) -> list[ComparisonRow]:
    """The rows of candidates of one T, with their ratios."""
    rows = [_row(candidate, result) for candidate, result in zip(alike, results, strict=True)]
    return [_with_ratios(row, [one for one in rows if one.precision == row.precision]) for row in rows]


def _row(candidate: Candidate, result: StepMeasurement | ChildError) -> ComparisonRow:
    preset = candidate.loaded.preset
    return ComparisonRow(
        candidate.baseline or preset.method.name,
        candidate.timesteps,
        preset.train.precision,
        preset.train.kernel,
        candidate.layout,
        preset.data.batch_size,
        measured=result if isinstance(result, StepMeasurement) else None,
        problem="" if isinstance(result, StepMeasurement) else str(result),
    )


def _with_ratios(row: ComparisonRow, rows: Sequence[ComparisonRow]) -> ComparisonRow:
    """The row with its ratios to the best of SpikingJelly's rows among these."""
    if row.measured is None:
        return row
    peers = [one.measured for one in rows if one.method == BPTT and one.measured is not None]

    def ratio(figure: Callable[[StepMeasurement], float | None]) -> float | None:
        ours = figure(row.measured) if row.measured else None
        theirs = [found for peer in peers if (found := figure(peer))]
        return ours / min(theirs) if ours and theirs else None

    turns = row.measured.turns
    best = min(peers, key=attrgetter("seconds")).turns if peers else ()
    # Ctrl-C may have ended a round between the two.
    within = [ours.seconds / theirs.seconds for ours, theirs in zip(turns, best, strict=False)]
    return replace(
        row,
        time=statistics.median(within) if within else None,
        memory=ratio(attrgetter("peak")),
        prediction=ratio(attrgetter("predict_seconds")),
        over_floor=statistics.median(turn.seconds / turn.floor for turn in turns),
    )


def document(rows: Sequence[ComparisonRow], wanted: Sequence[Candidate], busy: float) -> dict[str, Any]:
    """The rows with all that is needed to repeat them: network, batch, machine, versions, commit of rbp, when it ended,
    and the fraction of the cores that other programs used before.
    """
    loaded = wanted[0].loaded
    code, _ = git_state(Path(__file__).parent)
    return {
        "preset": loaded.name,
        "network": loaded.preset.model.name,
        "batch": loaded.preset.data.batch_size,
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "busy": busy,
        "packages": {name: packages().get(name) for name in ("torch", "spikingjelly")},
        "commit": code and code.commit + (" with changes" if code.changed else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": [row.as_json() for row in rows],
    }
