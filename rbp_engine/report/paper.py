"""The paper's accuracies, as given in presets, and the runs needed to reproduce them."""

import math
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rbp_engine.preset import PresetError, list_presets, load_preset
from rbp_engine.preset.experiment import of_role
from rbp_engine.report.collect import ReportedRun, differing
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import judge

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.preset.sections.paper import Figure

#: A top-1 fraction, "not known" if the paper's figure is not available, None if the preset names no such cell.
Published: TypeAlias = float | Literal["not known"] | None

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class PaperCell:
    """A published accuracy: the `preset` with this method and timesteps is to reproduce it, as runs of `experiment`.

    `standard_error` is that of the published mean, 0 if it is not known.
    """

    preset: str
    data: str
    network: str
    method: str
    timesteps: int
    published: Published
    standard_error: float
    experiment: str


@dataclass(frozen=True)
class MissingRun:
    """A missing run for one of the paper's cells; `live` if it is in progress."""

    cell: PaperCell
    seed: int
    live: str | None

    def command(self, runs: Path | None = None) -> str:
        """The shell command that trains it; `runs` is a runs directory other than the default."""
        words = (*_words(self.cell.method, self.cell.timesteps), f"seed={self.seed}")
        return shlex.join(LaunchRequest(self.cell.preset, words, LaunchOptions(runs)).command)

    def plain(self, runs: Path | None = None) -> dict[str, Any]:
        """The run for JSON, with its command."""
        cell = self.cell
        return {
            "preset": cell.preset,
            "method": cell.method,
            "timesteps": cell.timesteps,
            "seed": self.seed,
            "live": self.live,
            "data": cell.data,
            "command": self.command(runs),
        }


def published(preset: "Preset | None") -> Published:
    """The paper's figure for the method and timesteps of a run's own preset, if it has one."""
    if preset is None or preset.paper is None:
        return None
    ours = preset.method.name, preset.method.timesteps
    return next((one.top1 for one in preset.paper.figures if (one.method, one.timesteps) == ours), None)


def departures(entry: ReportedRun) -> dict[str, tuple[Any, Any]]:
    """The settings in which the run differs from its preset: key to (the run's value, the preset's).

    Empty if that preset can no longer be read.
    """
    assert entry.preset is not None
    source = entry.origin.source
    method = entry.preset.method
    try:
        loaded = load_preset(
            source if source and Path(source).is_file() else entry.summary.preset, _words(method.name, method.timesteps)
        )
    except PresetError:
        return {}
    there = of_role(loaded.preset, "result")
    keys = [key for key in differing([entry.settings, there]) if key in there]
    return {key: (entry.settings.get(key), there.get(key)) for key in keys}


def missing_runs(runs: Iterable[RunDirectory], cells: Sequence[PaperCell]) -> list[MissingRun]:
    """Every missing run of these cells.

    A cell is complete with completed runs of the seeds 1 to 3.
    """
    done: set[tuple[str, int]] = set()
    live: dict[tuple[str, int], str] = {}
    for run in runs:
        summary = read_summary(run)
        if summary is None:
            continue
        key = (str(summary.experiment), summary.seed or 0)
        verdict = judge(run, summary)
        if verdict.status == "completed":
            done.add(key)
        elif verdict.live:
            live[key] = run.id
    return [
        MissingRun(cell, seed, live.get((cell.experiment, seed)))
        for cell in cells
        for seed in SEEDS
        if (cell.experiment, seed) not in done
    ]


def paper_cells(presets: Sequence[str] = ()) -> tuple[list[PaperCell], list[str]]:
    """The cells of the published tables in `presets` (default: all), and messages on those that cannot be trained.

    A cell has the method and timesteps of one of the figures in the preset, and otherwise the preset's settings.
    """
    found: list[PaperCell] = []
    problems: list[str] = []
    for entry in list_presets():
        if presets and entry.name not in presets:
            continue
        try:
            preset = load_preset(entry.name).preset
        except PresetError as error:
            problems.append(f"preset {entry.name}: {error}")
            continue
        for figure in preset.paper.figures if preset.paper else ():
            try:
                loaded = load_preset(entry.name, _words(figure.method, figure.timesteps))
            except PresetError as error:
                problems.append(f"preset {entry.name}, {figure.method}, T = {figure.timesteps}: {error}")
                continue
            found.append(
                PaperCell(
                    preset=entry.name,
                    data=entry.group,
                    network=preset.model.name,
                    method=figure.method,
                    timesteps=figure.timesteps,
                    published=figure.top1,
                    standard_error=_standard_error(figure),
                    experiment=loaded.experiment,
                )
            )
    return found, problems


def figures_by_experiment(data_sets: Collection[str]) -> dict[str, Published]:
    """The published figure of each experiment that is a cell of one of these data sets."""
    names = [entry.name for entry in list_presets() if entry.group in data_sets and entry.preset and entry.preset.paper]
    return {cell.experiment: cell.published for cell in paper_cells(names)[0]} if names else {}


def _standard_error(figure: "Figure") -> float:
    return figure.std / math.sqrt(figure.runs) if figure.runs > 1 else 0.0


def _words(method: str, timesteps: int) -> list[str]:
    return [f"method={method}", f"T={timesteps}"]
