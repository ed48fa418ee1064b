"""Compile the kernels of a preset before a run needs them: `python -m rbp_engine.bench.warm_kernels RUN`, JSON.

A step and an evaluation of one batch, of random images of the data's shape, fill torch's cache with what runs of this
preset load from it. Threads are those of a run with the machine to itself: kernels are made for their number.
"""

import sys
import time
from pathlib import Path
from typing import Any

from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.stand_in import with_stand_in
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.child import Progress
from rbp_engine.data.known_shape import known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.device import choose_device
from rbp_engine.train.kernel import choose_kernel


def warm(run: RunDirectory, say: Progress) -> dict[str, Any]:
    """The seconds that it took, or `why` runs of this preset compile nothing here."""
    began = time.perf_counter()
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    trial = Trial(run, with_stand_in(preset, known_shape(preset.data)), device)
    kernel, warnings = choose_kernel(trial.preset, len(trial.feed.train), device)
    if kernel == "eager":
        return {"seconds": 0.0, "why": warnings[0] if warnings else "its runs are not compiled: train.kernel"}
    say("a step", 0.4)
    images, labels = next(iter(trial.feed.train.epoch(0)))
    trial.step(images, labels)
    say("an evaluation", 0.8)
    images, _ = next(iter(trial.feed.validation))
    trial.steps[preset.method.timesteps].method.predict(trial.model, images, time=trial.feed.has_time)
    return {"seconds": time.perf_counter() - began, "why": ""}


if __name__ == "__main__":
    sys.exit(answer(RunDirectory(Path(sys.argv[1])), warm))
