"""Predict the cost of a preset on this machine from a few seconds of its training. Without torch."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbp_engine.bench.measure.measurement import ask, temporary_run
from rbp_engine.bench.results.extrapolate import Plane, plane_of
from rbp_engine.child import Progress, no_progress
from rbp_engine.data.catalog import catalogued
from rbp_engine.data.loading.shares import parts_of
from rbp_engine.data.loading.workers import cores_of_a_rank, reading_processes
from rbp_engine.guard.time_span import parse_time_span

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.preset.schema import Preset

MEASURE = "rbp_engine.bench.measure_cost"
SECONDS = 4.0


@dataclass(frozen=True)
class Cost:
    """Memory in bytes, like the peak that a run reports; times in seconds.

    An epoch is its training steps, one evaluation, or two with an average of the weights, and a checkpoint at its end
    (`end_s`); `total_s` is the start (`startup_s`) and all epochs, or less if a budget ends them, by the setting
    `ended_by`.
    `fits`: `memory` is within `memory_limit`. `largest_timesteps` and `largest_batch` are the preset's own if it fits,
    else the largest value of that one that would fit: 0 if none does, None if it makes no difference.
    `measured` says what this was predicted from, `notes` what it does not include.
    """

    device: str
    memory: int
    memory_limit: int
    fits: bool
    largest_timesteps: int | None
    largest_batch: int | None
    step_s: float
    data_s: float
    evaluation_s: float
    end_s: float
    epoch_s: float
    startup_s: float
    total_s: float
    ended_by: str
    steps_per_epoch: int
    epochs: int
    batch: int
    timesteps: int
    measured: str
    notes: tuple[str, ...]


def predict_cost(
    loaded: "LoadedPreset",
    *,
    seconds: float = SECONDS,
    quiet: bool = False,
    on_progress: Progress = no_progress,
) -> Cost:
    """Train with a preset for some seconds, in a separate process like that of a run, and predict its cost.

    With `quiet` the process writes nothing to stderr. Raises ChildError.
    """
    with temporary_run(loaded) as run:
        words = (MEASURE, run, str(seconds))
        return predict(loaded.preset, ask(*words, quiet=quiet, on_progress=on_progress))


def predict(preset: "Preset", figures: dict[str, Any]) -> Cost:
    """The cost of a preset from the result of `rbp_engine.bench.measure_cost`."""
    batch, timesteps, epochs = preset.data.batch_size, preset.method.timesteps, preset.train.epochs
    limit = figures["limit"] - figures["data_bytes"]
    parts, part = parts_of_batch(preset)
    if whole := figures["whole"]:
        plane = Plane(figures["peak"], 0.0, 0.0)
        step_s, data_s, measured = whole["seconds"], whole["data_seconds"], f"{whole['steps']} steps"
    else:
        plane = plane_of(figures["points"], "peak")
        seconds = parts * plane_of(figures["points"], "seconds").at(part, timesteps)
        fetching = figures["fetching_s"]
        # Reading processes work during the previous step.
        overlapping = reading_processes(preset.data.workers, cores_of_a_rank()) > 0
        data_s = max(0.0, fetching - seconds) if overlapping else fetching
        step_s, measured = seconds + data_s, _describe_points(figures["points"])
    memory = plane.at(part, timesteps)
    if figures["memory_was_full"]:
        limit = min(limit, int(0.99 * memory))
    fits, largest_part = memory <= limit, plane.largest_batch(timesteps, limit)
    evaluation_s = figures["evaluation_s"] * figures["evaluations"] * (2 if preset.train.ema else 1)
    epoch_s = figures["steps"] * step_s + evaluation_s + figures["end_s"]
    ends, guard = [(epochs * epoch_s, "")], preset.guard
    if guard.max_steps:
        ends.append((guard.max_steps / figures["steps"] * epoch_s, "guard.max_steps"))
    if guard.max_time:
        ends.append((parse_time_span(guard.max_time), "guard.max_time"))
    trained_s, ended_by = min(ends)
    return Cost(
        device=figures["device"],
        memory=int(memory) + figures["data_bytes"],
        memory_limit=figures["limit"],
        fits=fits,
        largest_timesteps=timesteps if fits else plane.largest_timesteps(part, limit),
        largest_batch=batch if fits else largest_part and largest_part * parts,
        step_s=step_s,
        data_s=data_s,
        evaluation_s=evaluation_s,
        end_s=figures["end_s"],
        epoch_s=epoch_s,
        startup_s=figures["startup_s"],
        total_s=figures["startup_s"] + trained_s,
        ended_by=ended_by,
        steps_per_epoch=figures["steps"],
        epochs=epochs,
        batch=batch,
        timesteps=timesteps,
        measured=measured,
        notes=tuple(_notes(preset, figures)),
    )


def parts_of_batch(preset: "Preset") -> tuple[int, int]:
    """Into how many parts a batch is cut, and how many images are in memory together, those of the largest."""
    batch = preset.data.batch_size
    parts = parts_of(batch, 1, preset.train.accumulate)
    return parts, math.ceil(batch / parts)


def _describe_points(points: list[dict[str, Any]]) -> str:
    """A text like `extrapolated from B = 2 and 4, T = 2 and 4`."""
    batches, timesteps = ({point[name] for point in points} for name in ("batch", "timesteps"))
    return "extrapolated from " + ", ".join(
        f"{name} = {' and '.join(str(value) for value in sorted(values))}"
        for name, values in (("B", batches), ("T", timesteps))
    )


def _notes(preset: "Preset", figures: dict[str, Any]) -> list[str]:
    if figures["data_is_here"]:
        return []
    data_set = catalogued(preset.data.name)
    if data_set.kind == "recordings":
        return ["random frames stand in for the recordings: reading them is not in the time"]
    reading = "" if data_set.in_memory else ", and reading its files is not in the time"
    return [f"{preset.data.name} is not here: random images of its shape stand in for it{reading}"]
