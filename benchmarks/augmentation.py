"""Batched AutoAugment: what it launches and copies for a batch, without noise, and images per second on this CPU.

    python benchmarks/augmentation.py [--batch 128] [--draws 50] [--against CHECKOUT]

The meta device stands for a card: it has shapes and no values, and an operation that would wait for it fails. Beside
another checkout, training batches of both are drawn in turn, in two processes with this Python.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HERE = Path(__file__).resolve().parents[1]
FREE = ("empty", "new_empty", "_reshape_alias")
# A CPU prepares a convolution for each number of images that it meets.
WARM_UP = 150

# Answers each line of its input with the seconds that a batch took.
WORKER = """
import sys, time, torch
from rbp_engine.data.loading.batches import NormalisePixels, TrainBatches
from rbp_engine.data.splits import Images
cpu, batch = torch.device("cpu"), int(sys.argv[1])
draw = torch.Generator().manual_seed(0)
images = Images(torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, generator=draw), torch.arange(batch))
normalise = NormalisePixels((0.5,) * 3, (0.25,) * 3, cpu)
batches = TrainBatches(images, normalise, batch_size=batch, seed=1, auto_augment=True)
for epoch, _ in enumerate(sys.stdin):
    start = time.perf_counter()
    next(batches.epoch(epoch))
    print(time.perf_counter() - start, flush=True)
"""


class Account(TorchDispatchMode):
    """Counts copies between the host and the meta device, and other operations that compute something there."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)}
        if "meta" in devices and not func.is_view and not func.overloadpacket.__name__.startswith(FREE):
            self.copies += len(devices) > 1
            self.launches += len(devices) == 1
        return out


def count(batch: int, draws: int) -> set[tuple[int, int]]:
    """Launches and copies for each of the draws."""
    from rbp_engine.data.augment.autoaugment import AutoAugment

    card = torch.device("meta")
    augment, images = AutoAugment(32, 32, card), torch.empty(batch, 3, 32, 32, dtype=torch.uint8, device=card)
    seen = set()
    for seed in range(draws):
        with Account() as account:
            augment(images, torch.Generator().manual_seed(seed))
        seen.add((account.launches, account.copies))
    return seen


def time_batches(checkouts: list[Path], batch: int, draws: int) -> list[float]:
    """The median of the seconds for a batch, for each of the checkouts."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(batch)],
            env=os.environ | {"PYTHONPATH": str(checkout)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for checkout in checkouts
    ]  # fmt: skip
    taken: list[list[float]] = [[] for _ in workers]
    for draw in range(draws + WARM_UP):
        for worker, times in zip(workers, taken, strict=True):
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
            seconds = float(worker.stdout.readline())
            if draw >= WARM_UP:
                times.append(seconds)
    for worker in workers:
        worker.communicate()
    return [statistics.median(times) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--against", type=lambda path: Path(path).resolve(), metavar="CHECKOUT")
    chosen = parser.parse_args()
    for launches, copies in sorted(count(chosen.batch, chosen.draws)):
        print(f"a batch of {chosen.batch}: {launches} launches, {copies} copies to the card")
    checkouts = [HERE, *([chosen.against] if chosen.against else [])]
    medians = time_batches(checkouts, chosen.batch, chosen.draws)
    for checkout, median in zip(checkouts, medians, strict=True):
        print(f"{checkout}: {chosen.batch / median:.0f} images/s with {torch.get_num_threads()} threads", flush=True)
    if chosen.against:
        print(f"time of a batch / that of {chosen.against.name}: {medians[0] / medians[1]:.2f}")


if __name__ == "__main__":
    main()
