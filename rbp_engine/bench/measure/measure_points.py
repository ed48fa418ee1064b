"""Measure small steps of a run's preset on random images: `python -m rbp_engine.bench.measure.measure_points RUN`.

Prints JSON. A plane through their memory and time predicts the cost of larger steps, and which ones fit.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from rbp_engine.bench.measure import memory, stand_in
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import FIRST_BATCH, Trial, affordable_batch, small_points
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
    images, labels = next(iter(trial.feed.train.epoch(0)))
    for _ in range(2):  # the first time includes one-time costs
        first = trial.point(images, labels, min(FIRST_BATCH, len(labels)), preset.method.timesteps)
    batch = min(affordable_batch(first, base, limit), len(labels))
    points = [dataclasses.asdict(point) for point in small_points(trial, images, labels, batch)]
    return {"device": describe_device(device), "limit": limit, "base": base, "points": points}


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), measure))
