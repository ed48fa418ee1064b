"""What recording adds to a training step, timed around the recorder's calls; the budget is 1 %.

    python benchmarks/recorder_cost.py [--seconds 10] [PRESET [KEY=VALUE …]]

Covers the record of every step, a `metrics` event and the TensorBoard curves at `train.log_every`, and drains at the
trainer's intervals. Comparing steps with and without recording would not do: they differ by some per cent for other
reasons, which would hide the cost.
"""

import argparse
import time

from rbp_engine.bench.measure.epoch import WARM_UP, Epoch
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.bench.measure.trial import Trial
from rbp_engine.preset import load_preset
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.device import choose_device


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("preset", nargs="*", default=["digits"])
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    loaded = load_preset(chosen.preset[0], chosen.preset[1:])
    with temporary_run(loaded) as run:
        trial = Trial(run, loaded.preset, choose_device(loaded.preset.run.device))
        recorder = Epoch(trial).recorder
        images, labels = next(iter(trial.feed.train.epoch(0)))
        for _ in range(WARM_UP):
            trial.step(images, labels)
        at, recording = Progress(), 0.0
        recorder.begin()
        started = trial.clock()
        while time.perf_counter() - started < chosen.seconds:
            out = trial.step(images, labels)
            at = Progress(at.step + 1, 0, at.position + 1)
            called = time.perf_counter()
            recorder.fetched()
            recorder.step(at, out, images, labels, 0.1)
            recording += time.perf_counter() - called
            if recorder.due():
                called = trial.clock()  # waits for pending work of the device, which is not the recorder's cost
                recorder.drain()
                recording += time.perf_counter() - called
        training = trial.clock() - started - recording
    print(
        f"{' '.join(chosen.preset)}: step {1000 * training / at.step:.2f} ms, "
        f"recorder {100 * recording / training:+.2f} % ({at.step} steps)"
    )


if __name__ == "__main__":
    main()
