"""Images per second of loading and augmentation, without training: of a preset's data, or of JPEG files made up here.

    python benchmarks/loading.py [PRESET KEY=VALUE…] [--workers 0,1,2] [--rounds 3]

The JPEG files have 500×375 pixels. The cases take turns; the figures are medians, with one thread in each process.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rbp_engine.bench.measure.trial import endless
from rbp_engine.data.feed import Opening
from rbp_engine.data.loading.one_by_one import images_in_files
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.readers.image_folders import list_image_folders
from rbp_engine.preset import load_preset
from rbp_engine.preset.sections.data import DataSection

CPU = torch.device("cpu")
TURN_S = 1.0

#: By name and number of workers, what gives endless batches.
Cases = dict[tuple[str, int], Callable[[], Iterator[Any]]]


def photographs(folder: Path, workers: list[int]) -> Cases:
    write_photographs(folder)
    found: Cases = {}
    for one in workers:
        data = DataSection(name="imagenet", batch_size=32, flip=True, workers=one)
        feed = images_in_files(list_image_folders(folder), 224, Opening(data, 1, 0.0, CPU, Cut(batch_size=32)))
        found["JPEG, crop to 224, flip", one] = partial(endless, feed.train)
        found["JPEG, centre", one] = partial(again, feed.validation)
    return found


def write_photographs(root: Path, different: int = 32, files: int = 1024) -> None:
    """Write JPEGs of about 100 kB, ImageNet's mean: smooth shapes with grain; `files` are links to `different` ones."""
    draw = np.random.default_rng(0)
    places = [root / side / f"n{label:08}" for side, label in itertools.product(("train", "val"), range(2))]
    for place in places:
        place.mkdir(parents=True)
    for number in range(different):
        shapes = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(shapes) + draw.normal(0, 18, (375, 500, 3))
        original = root / f"{number}.JPEG"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(original, quality=90)
        for place, copy in itertools.product(places, range(files // different // 2)):
            os.link(original, place / f"{number}-{copy}.JPEG")


def again(source: Any) -> Iterator[Any]:
    while True:
        yield from source


def of_preset(words: list[str]) -> Cases:
    preset = load_preset(words[0], words[1:]).preset
    settings: dict[str, Any] = {"timesteps": preset.method.timesteps, "seed": 0, "held_out": 0.0, "device": CPU}
    feed = open_feed(preset.data, **settings)
    readers = feed.loader.workers
    return {("training", readers): partial(endless, feed.train), ("evaluation", readers): partial(again, feed.test)}


def rate(case: Callable[[], Iterator[Any]]) -> float:
    """Images per second of a turn; the clock starts at the first batch, when the workers have started."""
    batches, images = case(), 0
    next(batches)
    started = time.perf_counter()
    while (passed := time.perf_counter() - started) < TURN_S:
        images += len(next(batches)[1])
    return images / passed


def measure(cases: Cases, rounds: int) -> dict[tuple[str, int], float]:
    turns = [[rate(case) for case in cases.values()] for _ in range(rounds)]
    return dict(zip(cases, map(statistics.median, zip(*turns, strict=True)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="PRESET KEY=VALUE")
    parser.add_argument("--workers", default="0,1,2", help="processes that read the JPEG files")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workers = [int(one) for one in chosen.workers.split(",")]
        cases = of_preset(chosen.words) if chosen.words else photographs(Path(folder), workers)
        for (what, readers), found in measure(cases, chosen.rounds).items():
            print(f"{found:8.0f} images/s  {what}, {readers} workers", flush=True)


if __name__ == "__main__":
    main()
