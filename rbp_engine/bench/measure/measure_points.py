"""Measure small steps of a run's preset on random images: `python -m rbp_engine.bench.measure.measure_points RUN`.

Prints JSON. A plane through their memory and time predicts the cost of larger steps, and which ones fit.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from rbp_engine.bench.measure import memory, stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import Trial, affordable_batch
from rbp_engine.child import Progress
from rbp_engine.data.known_shape import known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.device import choose_device, describe_device


def measure(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """Measure steps up to the preset's batch and T; times are seconds, memory bytes."""
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    limit = memory.limit(device)
    trial = Trial(run, stand_in.with_stand_in(preset, known_shape(preset.data)), device)
    base = memory.reset_peak(device)
    trial.first_point()  # with one-time costs
    batch = min(affordable_batch(trial.first_point(), base, limit), len(trial.batch[1]))
    points = [dataclasses.asdict(point) for point in trial.small_points(batch)]
    return {"device": describe_device(device), "limit": limit, "base": base, "points": points}


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), measure))
