"""What recording adds to a training step: turns with and without it, interleaved; at most 1 % is asked.

    python benchmarks/recorder_cost.py [--rounds 15] [PRESET [KEY=VALUE …]]

With it: what every step computes, a `metrics` event and the curves of TensorBoard at `train.log_every`, drains as the
trainer makes them. Medians of the difference within a round, so that a busy machine is busy for both.
"""

import argparse
import statistics

from rbp_engine.bench.epoch import Epoch
from rbp_engine.bench.measurement import temporary_run
from rbp_engine.bench.trial import Trial
from rbp_engine.preset import load_preset
from rbp_engine.train.checkpoint import Progress
from rbp_engine.train.device import choose_device

TURN_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("preset", nargs="*", default=["digits"])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    loaded = load_preset(chosen.preset[0], chosen.preset[1:])
    with temporary_run(loaded) as run:
        trial = Trial(run, loaded.preset, choose_device(loaded.preset.run.device))
        recorder = Epoch(trial).recorder
        images, labels = next(iter(trial.feed.train.epoch(0)))
        at = Progress()

        def turn(steps: int, *, recorded: bool) -> float:
            """Seconds of a step."""
            nonlocal at
            recorder.begin()
            started = trial.clock()
            for _ in range(steps):
                out = trial.step(images, labels)
                if recorded:
                    at = Progress(at.step + 1, 0, at.position + 1)
                    recorder.fetched()
                    recorder.step(at, out, labels, 0.1)
                    if recorder.due():
                        recorder.drain()
            return (trial.clock() - started) / steps

        steps = max(1, round(TURN_S / turn(3, recorded=True)))
        bare, added = [], []
        for number in range(chosen.rounds):
            order = (False, True) if number % 2 else (True, False)
            found = {recorded: turn(steps, recorded=recorded) for recorded in order}
            bare.append(found[False])
            added.append(found[True] / found[False] - 1.0)
        print(
            f"{' '.join(chosen.preset)}: step {1000 * statistics.median(bare):.2f} ms, "
            f"recorder {100 * statistics.median(added):+.2f} % ({steps} steps a turn, {chosen.rounds} rounds)"
        )


if __name__ == "__main__":
    main()
