"""Images per second of loading and augmentation: `python -m rbp_engine.bench.measure.loading RUN`, JSON on stdout.

Of the data of a run, or of every kind of data set with every augmentation: small images in memory, event frames in a
cache on disk, JPEG files of 500×375 pixels. All of these are made up, so that no data need be here.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rbp_engine.bench.measure.device_decoding import decoded_on
from rbp_engine.bench.measure.measurement import answer
from rbp_engine.bench.measure.trial import clock, endless
from rbp_engine.child import Progress
from rbp_engine.data.augment.mixing import MixedBatches
from rbp_engine.data.events.cache import Samples
from rbp_engine.data.events.sources import EventTraining
from rbp_engine.data.loading.image_batches import image_batches
from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.protocol import Batch, EvaluationSource, Feed, TrainingSource
from rbp_engine.data.readers.image_folders import list_image_folders
from rbp_engine.preset import read_resolved
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_feed
from rbp_engine.train.device import choose_device

CPU = torch.device("cpu")
TURN_S = 1.0
WORKERS = (0, 1, 2)
JPEG, BATCH, ON_DEVICE = "JPEG 500×375", 32, "decoded, cropped to 224, flipped on the device"
# CIFAR's pipeline of the paper; `pil` treats one image at a time, as the paper does.
WHOLE = {"crop_padding": 4, "flip": True, "auto_augment": True, "cutout": 16}


@dataclass(frozen=True)
class Case:
    """One way to load endless batches onto a device, with `workers` processes besides this one."""

    kind: str
    augmentation: str
    workers: int
    batches: Callable[[], Generator[Batch]]
    device: torch.device = CPU


@dataclass(frozen=True)
class Rate:
    """Images per second, and per core second: of this process without workers, else of each worker."""

    kind: str
    augmentation: str
    workers: int
    images_per_s: float
    per_core: float


def measure(cases: Sequence[Case], rounds: int, say: Progress) -> list[Rate]:
    """Medians over `rounds` turns of all cases."""
    turns: list[list[tuple[float, float]]] = []
    for number in range(rounds):
        turns.append([])
        for place, case in enumerate(cases):
            doing = f"round {number + 1} of {rounds}: {case.kind}, {case.augmentation}, {case.workers} workers"
            say(doing, (number + place / len(cases)) / rounds)
            turns[-1].append(_turn(case))
    return [
        Rate(
            case.kind, case.augmentation, case.workers, *(statistics.median(rate) for rate in zip(*rates, strict=True))
        )
        for case, rates in zip(cases, zip(*turns, strict=True), strict=True)
    ]


def _turn(case: Case) -> tuple[float, float]:
    """One turn; the clock starts at the first batch, when the workers have started."""
    batches = case.batches()
    next(batches)
    wall, processor, images = clock(case.device), time.process_time(), 0
    while time.perf_counter() - wall < TURN_S:
        _, labels = next(batches)
        images += len(labels)
    wall, processor = clock(case.device) - wall, time.process_time() - processor
    batches.close()  # ends the workers
    return images / wall, images / (wall * case.workers if case.workers else processor)


def run_cases(run: RunDirectory) -> list[Case]:
    """Training and evaluation data of a run's preset."""
    preset = read_resolved(run.preset_toml)
    device = choose_device(preset.run.device)
    feed = build_feed(run, preset, device)
    name = preset.data.name
    return [
        Case(name, "training", _readers(feed.train), partial(endless, feed.train), device),
        Case(name, "evaluation", _readers(feed.validation), partial(_again, feed.validation), device),
    ]


def _readers(source: TrainingSource | EvaluationSource) -> int:
    """The processes that read the batches of a source; none where they are made in memory, whatever `data.workers`."""
    loader = getattr(source.source if isinstance(source, MixedBatches) else source, "loader", None)
    return 0 if loader is None else int(loader.workers)


def all_cases(folder: Path) -> list[Case]:
    """Every kind of data set with every augmentation; creates files in `folder`."""
    return [*in_memory(), *event_frames(folder), *photographs(folder)]


def in_memory() -> list[Case]:
    """Small images: batches on the device, or one image at a time."""
    grey = {"shape": [1, 28, 28], "train_size": 2048, "test_size": 1}
    colour = {"train_size": 2048, "test_size": 1}
    return [
        _small("28×28 in memory", "none", grey),
        _small("28×28 in memory", "crop", grey, crop_padding=2),
        _small("32×32×3 in memory", "none", colour),
        _small("32×32×3 in memory", "crop, flip", colour, crop_padding=4, flip=True),
        _small("32×32×3 in memory", "crop, flip, cutout", colour, crop_padding=4, flip=True, cutout=16),
        _small("32×32×3 in memory", "crop, flip, AutoAugment, cutout", colour, **WHOLE),
        *(
            _small("32×32×3 image by image", "crop, flip, AutoAugment, cutout", colour, **WHOLE,
                   augment_backend="pil", workers=workers)
            for workers in WORKERS
        ),
    ]  # fmt: skip


def _small(kind: str, augmentation: str, args: dict[str, Any], workers: int = 0, **settings: Any) -> Case:
    data = DataSection(name="fake", batch_size=128, args=args, workers=workers, **settings)
    feed = open_feed(data, timesteps=1, seed=0, held_out=0.0, device=CPU)
    return Case(kind, augmentation, workers, partial(endless, feed.train))


def event_frames(folder: Path) -> list[Case]:
    """Frames of 10 timesteps, two polarities and 48×48 pixels, memory-mapped like a cache."""
    counts = np.random.default_rng(0).integers(0, 4, (512, 10, 2, 48, 48), dtype=np.uint8)
    np.save(folder / "counts.npy", counts)
    samples = Samples(np.load(folder / "counts.npy", mmap_mode="r"), np.zeros(512, np.int64))
    index = np.arange(512)

    def frames(**settings: Any) -> TrainingSource:
        return EventTraining(samples, index, device=CPU, batch_size=64, seed=0, **settings)

    kind = "event frames, T = 10, 48×48"
    return [
        Case(kind, "none", 0, partial(endless, frames())),
        *(
            Case(kind, "flip, roll", workers, partial(endless, frames(flip=True, roll=5, workers=workers)))
            for workers in WORKERS
        ),
    ]


def photographs(folder: Path) -> list[Case]:
    """JPEG files as in ImageNet, cropped to 224×224."""
    write_photographs(folder / "photographs")
    cases = []
    for workers in WORKERS:
        feed = _photograph_feed(folder, workers, CPU)
        cases.append(Case(JPEG, "crop to 224, flip", workers, partial(endless, feed.train)))
        cases.append(Case(JPEG, "centre (evaluation)", workers, partial(_again, feed.validation)))
    return cases


def photographs_to(device: torch.device, folder: Path, ways: Sequence[str]) -> list[Case]:
    """The training images of `photographs` on a device, decoded by so many workers, or for "device" by itself."""
    write_photographs(folder / "photographs")
    files = sorted((folder / "photographs" / "train").rglob("*.JPEG"))
    cases = []
    for way in ways:
        if way == "device":
            cases.append(Case(JPEG, ON_DEVICE, 0, partial(decoded_on, device, files, BATCH), device))
        else:
            batches = partial(endless, _photograph_feed(folder, int(way), device).train)
            cases.append(Case(JPEG, "crop to 224, flip", int(way), batches, device))
    return cases


def _photograph_feed(folder: Path, workers: int, device: torch.device) -> Feed:
    images = list_image_folders(folder / "photographs")
    return image_batches("imagenet", images, batch_size=BATCH, seed=0, held_out=0, device=device, workers=workers)


def write_photographs(root: Path, different: int = 32, files: int = 1024) -> None:
    """Write JPEGs of about 100 kB, ImageNet's mean: smooth shapes with grain; `files` are links to `different` ones."""
    draw = np.random.default_rng(0)
    for side, label in itertools.product(("train", "val"), range(2)):
        (root / side / f"n{label:08}").mkdir(parents=True)
    for number in range(different):
        shapes = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(shapes) + draw.normal(0, 18, (375, 500, 3))
        original = root / f"{number}.JPEG"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(original, quality=90)
        for side, copy in itertools.product(("train", "val"), range(files // different)):
            os.link(original, root / side / f"n{copy % 2:08}" / f"{number}-{copy}.JPEG")


def _again(source: EvaluationSource) -> Generator[Batch]:
    """Endless evaluations."""
    while True:
        yield from source


def main(words: Sequence[str]) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.bench.measure.loading", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--own", action="store_true", help="the data of the run, not every kind")
    parser.add_argument("--photographs", metavar="W,W,…", help="only JPEG files, by so many workers or by `device`")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(words)
    # One thread, because rates are per core second.
    torch.set_num_threads(1)

    def measured(run: RunDirectory, say: Progress) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            if asked.photographs:
                device = choose_device(read_resolved(run.preset_toml).run.device)
                cases = photographs_to(device, Path(folder), asked.photographs.split(","))
            else:
                cases = run_cases(run) if asked.own else all_cases(Path(folder))
            rates = measure(cases, asked.rounds, say)
        return {"rates": [asdict(rate) for rate in rates]}

    return answer(RunDirectory(asked.run), measured)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
