"""Images per second of the loaders: JPEG files of 500×375 pixels, and AutoAugment in batches against image by image.

Interleaved, medians. AutoAugment in batches has to be 3 times as fast. It runs on the CPU with one torch thread: the
seconds of one core are what the loaders compete for.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rbp_engine.data.autoaugment import autoaugment_batched
from rbp_engine.data.batches import TrainBatches
from rbp_engine.data.fake import fake
from rbp_engine.data.folder_batches import WorkerTrainBatches
from rbp_engine.data.imagenet import imagenet
from rbp_engine.data.pil_augmentation import PilImages

ROUNDS = 5
CPU = torch.device("cpu")
WORKERS = (0, 1, 2)


def write_photographs(root: Path, classes: int = 4, each: int = 256) -> None:
    """JPEGs of about 100 kB, the mean size in ImageNet: smooth shapes with some grain.

    Enough of them that the start of the workers, a tenth of a second, does not count.
    """
    draw = np.random.default_rng(0)
    for side in ("train", "val"):
        for label in range(classes):
            folder = root / side / f"n{label:08}"
            folder.mkdir(parents=True)
            for number in range(each):
                shapes = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
                pixels = np.asarray(shapes) + draw.normal(0, 18, (375, 500, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.JPEG", quality=90)


def images_per_second(
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]], clock: Callable[[], float] = time.perf_counter
) -> float:
    start = clock()
    count = sum(len(labels) for _, labels in batches)
    return count / (clock() - start)


def measure(cases: dict[str, Callable[[], float]]) -> dict[str, float]:
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            rates[name].append(case())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, median in medians.items():
        print(f"{name:44} {median:8.0f} images/s")
    return medians


def measure_files() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder))
        sizes = [path.stat().st_size for path in Path(folder).glob("*/*/*")]
        print(f"files of {statistics.mean(sizes) / 1000:.0f} kB on average")
        alone = imagenet(Path(folder), batch_size=32, seed=0, held_out=0, device=CPU, workers=0)
        # Processor time, which other programs do not stretch: what one worker gives on a core of its own.
        cases: dict[str, Callable[[], float]] = {
            "JPEG, training, by second of a core": lambda: images_per_second(alone.train.epoch(0), time.process_time),
            "JPEG, evaluation, by second of a core": lambda: images_per_second(alone.test, time.process_time),
        }
        for workers in WORKERS:
            feed = imagenet(Path(folder), batch_size=32, seed=0, held_out=0, device=CPU, workers=workers)
            cases[f"JPEG, training, {workers} workers"] = lambda feed=feed: images_per_second(feed.train.epoch(0))
            cases[f"JPEG, evaluation, {workers} workers"] = lambda feed=feed: images_per_second(feed.test)
        measure(cases)


def measure_autoaugment() -> None:
    splits = fake(train_size=512, test_size=1)
    images = splits.train
    one_by_one = WorkerTrainBatches(
        PilImages(images, splits, crop_padding=4, flip=True, autoaugment=True, cutout=16),
        lambda images: images,
        device=CPU,
        batch_size=128,
        seed=0,
        flip=False,
        drop_last=False,
        workers=0,
    )

    def normalise(pixels: torch.Tensor) -> torch.Tensor:
        autoaugmented = autoaugment_batched(pixels, torch.Generator().manual_seed(0))
        return (autoaugmented.float() / 255 - 0.5) / 0.25

    batched = TrainBatches(
        images,
        normalise,  # type: ignore[arg-type]
        batch_size=128,
        seed=0,
        crop_padding=4,
        flip=True,
        cutout=16,
    )
    names = "CIFAR's whole pipeline, image by image (pil)", "CIFAR's whole pipeline, in batches"
    medians = measure(
        {
            names[0]: lambda: images_per_second(one_by_one.epoch(0)),
            names[1]: lambda: images_per_second(batched.epoch(0)),
        }
    )
    print(f"ratio {medians[names[1]] / medians[names[0]]:.1f}, at least 3 is asked")


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure_files()
    measure_autoaugment()
