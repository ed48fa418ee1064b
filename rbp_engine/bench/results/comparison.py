"""Methods × timesteps × precision × kernel of one network and batch, measured against baselines. Without torch."""

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any

from rbp_engine.bench.measure.interleave import OURS, MeasuredSide, StepMeasurement, measure
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.child import ChildError, Progress, no_progress, stage
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.report import names
from rbp_engine.run.files.run_json import packages

BPTT, FLOOR = "spikingjelly", "ann"
TITLES = {
    BPTT: "SpikingJelly",
    "memopt": "memopt",
    "checkpoint": "torch checkpoint",
    FLOOR: "ANN floor",
}
BASELINES, ALL = tuple(TITLES), "all"


@dataclass(frozen=True)
class ComparisonRow:
    """One way to train at one T; `precision` and `kernel` are "" for a baseline.

    `measured` is None if it could not be measured, and `problem` says why. `time` and `memory` are ratios to
    SpikingJelly's BPTT, `prediction` is that of a prediction's time, `floor` the ratio of the time to the ANN's, all at
    the same T; None without a denominator.
    """

    method: str
    timesteps: int
    precision: str
    kernel: str
    batch: int
    measured: StepMeasurement | None
    problem: str = ""
    time: float | None = None
    memory: float | None = None
    floor: float | None = None
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

    @property
    def timesteps(self) -> int:
        return self.loaded.preset.method.timesteps

    @property
    def title(self) -> str:
        """What the row is called, as in the table."""
        return in_words(self.baseline or self.loaded.preset.method.name)


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
    """All candidates, with baselines first at every T; without precisions or kernels, the preset's own are used.

    Raises PresetError for an invalid combination, before anything is measured.
    """
    found = []
    choices = [[f"train.precision={name}" for name in precisions], [f"train.kernel={name}" for name in kernels]]
    settings = list(itertools.product(*(words or [""] for words in choices)))
    for steps in timesteps:
        found += [Candidate(load_preset(preset, [*overrides, f"T={steps}"]), name) for name in against]
        for method, words in itertools.product(methods, settings):
            given = [f"T={steps}", f"method={method}", *(word for word in words if word)]
            found.append(Candidate(load_preset(preset, [*overrides, *given])))
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
    pairs = list(zip(alike, results, strict=True))
    found = {one.baseline: result for one, result in pairs if isinstance(result, StepMeasurement)}
    return [_row(candidate, result, found.get(BPTT), found.get(FLOOR)) for candidate, result in pairs]


def _row(
    candidate: Candidate,
    result: StepMeasurement | ChildError,
    bptt: StepMeasurement | None,
    floor: StepMeasurement | None,
) -> ComparisonRow:
    preset = candidate.loaded.preset
    settings = {} if candidate.baseline else preset.train.model_dump()
    measured = result if isinstance(result, StepMeasurement) else None
    return ComparisonRow(
        candidate.baseline or preset.method.name,
        candidate.timesteps,
        settings.get("precision", ""),
        settings.get("kernel", ""),
        preset.data.batch_size,
        measured,
        problem="" if isinstance(result, StepMeasurement) else str(result),
        time=_ratio(measured, bptt, attrgetter("seconds")),
        memory=_ratio(measured, bptt, attrgetter("peak")),
        floor=_ratio(measured, floor, attrgetter("seconds")),
        prediction=_ratio(measured, bptt, attrgetter("predict_seconds")),
    )


def _ratio(
    of: StepMeasurement | None, to: StepMeasurement | None, figure: Callable[[StepMeasurement], float | None]
) -> float | None:
    """The ratio of a figure of two measurements; None if one has not been taken."""
    if of is None or to is None or not (value := figure(of)) or not (other := figure(to)):
        return None
    return value / other


def document(rows: Sequence[ComparisonRow], wanted: Sequence[Candidate]) -> dict[str, Any]:
    """The rows with all that is needed to repeat them: network, batch, machine and versions."""
    loaded = wanted[0].loaded
    return {
        "preset": loaded.name,
        "network": loaded.preset.model.name,
        "batch": loaded.preset.data.batch_size,
        "host": socket.gethostname(),
        "cores": len(os.sched_getaffinity(0)),
        "packages": {name: packages().get(name) for name in ("torch", "spikingjelly")},
        "rows": [row.as_json() for row in rows],
    }
