"""What recording adds to a training step, by the clock around the recorder's calls; at most 1 % is asked.

    python benchmarks/recorder_cost.py [--seconds 10] [PRESET [KEY=VALUE …]]

It is what every step leaves for later, a `metrics` event and the curves of TensorBoard at `train.log_every`, and drains
as the trainer makes them. Turns with and without it differ by some per cent for other reasons, which would hide it.
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
                called = trial.clock()  # waiting for what the device still has to do is not the recorder's
                recorder.drain()
                recording += time.perf_counter() - called
        training = trial.clock() - started - recording
    print(
        f"{' '.join(chosen.preset)}: step {1000 * training / at.step:.2f} ms, "
        f"recorder {100 * recording / training:+.2f} % ({at.step} steps)"
    )


if __name__ == "__main__":
    main()
