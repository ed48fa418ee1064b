"""How far `rbp cost` is off: its prediction against short runs of the same preset, interleaved; medians.

    python benchmarks/cost_error.py [--rounds 3] [PRESET …]

The budget is 15 % for an epoch (training, fetching, evaluation, checkpoint) and for the peak memory. The first epoch of
a run is left out because it warms up; "in all" is from the start of the process to its end.
"""

import argparse
import statistics
import time
from itertools import pairwise

from rbp_engine.bench.cost import predict_cost
from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.preset import load_preset
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import Validation
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch

PRESETS = {
    "digits": ["digits", "epochs=12"],
    "mnist5k": ["mnist5k", "epochs=4"],
    "moving-digits": ["moving-digits", "epochs=4"],
    "fake resnet18": [
        "cifar10-resnet18", "data=fake", "batch=32", "data.args.train_size=320", "data.args.test_size=64", "epochs=3",
    ],
}  # fmt: skip
FIGURES = ("epoch_s", "memory", "total_s")


def actual(words: list[str]) -> dict[str, float]:
    """Seconds per epoch, peak memory, and total seconds of a real run."""
    with temporary_run(load_preset(words[0], words[1:])) as run:
        started = time.perf_counter()
        launch.start(run).wait()
        total = time.perf_counter() - started
        summary = read_summary(run)
        assert summary is not None and summary.status == "completed", summary
        ends = [event.t for event in EventReader(run.events()).poll() if isinstance(event.body, Validation)]
        epoch = statistics.mean(after - before for before, after in pairwise(ends))
        return {"epoch_s": epoch, "memory": summary.mem_peak or 0, "total_s": total}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("presets", nargs="*", default=list(PRESETS), metavar="PRESET")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    for name in chosen.presets:
        words = PRESETS[name]
        pairs = [(vars(predict_cost(load_preset(words[0], words[1:]))), actual(words)) for _ in range(chosen.rounds)]
        for figure in FIGURES:
            predicted, found = (statistics.median(side[figure] for side in sides) for sides in zip(*pairs, strict=True))
            print(
                f"{name:14} {figure:8} predicted {predicted:12.3f}  found {found:12.3f}  {predicted / found - 1:+.1%}"
            )


if __name__ == "__main__":
    main()
