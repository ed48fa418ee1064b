"""How long a training step waits for its event frames, read between the steps and read ahead.

    python benchmarks/event_reading.py [--samples 2000] [--batch 64] [--step-ms 200] [--rounds 3]

Frames are those of CIFAR10-DVS in a file, T = 10, random counts. A step is a matrix product, repeated for the time.
Epochs with and without a process that reads ahead take turns; the file is in the system's cache from the first on.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.sources import EventTraining

SHAPE = (10, 2, 48, 48)


def write_samples(folder: Path, count: int) -> Samples:
    path = folder / "train.npy"
    counts = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *SHAPE))
    draw = np.random.default_rng(0)
    for number in range(count):
        counts[number] = draw.integers(0, 4, SHAPE, dtype=np.uint8)
    counts.flush()
    return Samples(np.load(path, mmap_mode="r"), np.zeros(count, np.int64))


def waits(source: EventTraining, epoch: int, step_s: float) -> list[float]:
    """The seconds that each step but the first waits for its batch."""
    matrix, found = torch.rand(256, 256), []
    batches = source.epoch(epoch)
    while True:
        start = time.perf_counter()
        if next(batches, None) is None:
            return found[1:]
        found.append(time.perf_counter() - start)
        until = time.perf_counter() + step_s
        while time.perf_counter() < until:
            matrix @ matrix


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--step-ms", type=float, default=200.0)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    taken: dict[int, list[float]] = {0: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        samples = write_samples(Path(folder), chosen.samples)
        for epoch in range(chosen.rounds):
            for workers, found in taken.items():
                source = EventTraining(
                    samples, np.arange(chosen.samples), device=torch.device("cpu"), batch_size=chosen.batch,
                    seed=0, flip=True, roll=5, workers=workers,
                )  # fmt: skip
                found += waits(source, epoch, chosen.step_ms / 1000)
    for workers, found in taken.items():
        print(f"{workers} processes read ahead: a step waits {1000 * statistics.median(found):.2f} ms", flush=True)


if __name__ == "__main__":
    main()
