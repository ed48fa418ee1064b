"""What each probe adds to a run: `python -m rbp_engine.bench.measure.probes RUN`, JSON on stdout.

Steps with a probe and steps without take turns, on the data of the run or on random images of its shape.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rbp_engine.bench.measure import stand_in
from rbp_engine.bench.measure.epoch import WARM_UP
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.child import Progress
from rbp_engine.data.known_shape import is_here, known_shape
from rbp_engine.preset import read_resolved
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.step_probe import Probes
from rbp_engine.probes.table import create_probes
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.device import choose_device

# The probes that need nothing but a switch, and how it is on for every step.
SWITCHES: dict[str, Any] = {"firing_rates": True, "health": True, "gradients": 1}


@dataclass(frozen=True)
class ProbeCost:
    """Seconds of a step, and of a step with its probe, medians; the probe samples every `every` steps of a run."""

    probe: str
    every: int
    step_s: float
    sampled_s: float

    @property
    def share(self) -> float:
        """What the probe adds to the steps of a run, as a fraction of them; 0 where it is lost in the noise."""
        return max(0.0, self.sampled_s / self.step_s - 1.0) / self.every


def measure(run: RunDirectory, say: Progress, steps: int) -> list[ProbeCost]:
    """The cost of each probe, from `steps` steps with it and as many without."""
    preset = read_resolved(run.preset_toml)
    shape = None if is_here(preset.data) else known_shape(preset.data)
    trial = Trial(run, stand_in.with_stand_in(preset, shape), choose_device(preset.run.device))
    found = []
    for number, name in enumerate(SWITCHES):
        say(name.replace("_", " "), number / len(SWITCHES))
        every = min(_every(preset, name, len(trial.feed.train)), len(trial.feed.train) * preset.train.epochs)
        found.append(_cost(trial, name, every, steps))
    return found


def _every(preset: Preset, name: str, steps_per_epoch: int) -> int:
    """The steps between two samples; once an epoch for a probe that is off in the preset and has steps of its own."""
    return preset.probes.gradients or steps_per_epoch if name == "gradients" else preset.train.log_every


def _cost(trial: Trial, name: str, every: int, steps: int) -> ProbeCost:
    method, validation = trial.steps[trial.preset.method.timesteps].method, trial.feed.validation
    preset = with_probe(trial.preset, name)
    probes = create_probes(preset, trial.model, method, validation, steps_per_epoch=1, code=trial.run.code)
    images, labels = next(iter(trial.feed.train.epoch(0)))
    for _ in range(WARM_UP):
        trial.step(images, labels)
    without: list[float] = []
    sampled: list[float] = []
    for number in range(1, steps + 1):
        for seconds, watched in ((without, Probes()), (sampled, probes)):
            started = trial.clock()
            with watched.watch(number):
                trial.step(images, labels)
            watched.measure(number)
            watched.take()
            seconds.append(trial.clock() - started)
    return ProbeCost(name, every, statistics.median(without), statistics.median(sampled))


def with_probe(preset: Preset, name: str) -> Preset:
    """The preset with this probe, and no other, on every step."""
    switched = preset.probes.model_copy(update=dict.fromkeys(SWITCHES, False) | {"own": "", name: SWITCHES[name]})
    train = preset.train.model_copy(update={"log_every": 1})
    return preset.model_copy(update={"probes": switched, "train": train})


def main(words: Sequence[str]) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.bench.measure.probes", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    asked = parser.parse_args(words)

    def measured(run: RunDirectory, say: Progress) -> dict[str, Any]:
        return {"costs": [asdict(cost) | {"share": cost.share} for cost in measure(run, say, asked.steps)]}

    return answer(RunDirectory(asked.run), measured)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
