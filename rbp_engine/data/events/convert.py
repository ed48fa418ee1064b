"""Decode CIFAR10-DVS once, into a cache of frames: `python -m rbp_engine.data.events.convert ROOT CACHE T`.

It writes the manifest as JSON on stdout, or {"problem": message, "files": [message…]} with one for each recording that
cannot be read, and its progress on stderr. Exit code 1: a problem.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from rbp_engine.data.events import resize as resizing
from rbp_engine.data.events.cache import Cache, key_of, load, seal
from rbp_engine.data.events.decode import decode
from rbp_engine.data.events.errors import EventDataError, Unreadable
from rbp_engine.data.events.growing_array import GrowingArray
from rbp_engine.data.events.labels import check_labels
from rbp_engine.data.events.layouts import FoundLayout, detect
from rbp_engine.data.events.lock import AlreadyLocked, Held, lock
from rbp_engine.data.events.orientation import describe, to_canonical
from rbp_engine.data.events.recordings import (
    PARTS,
    Recording,
    Split,
    fingerprint,
    list_recordings,
    split_recordings,
)
from rbp_engine.data.events.slicing import SIDE
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import described
from rbp_engine.vocabulary import FramesBy, Orientation, Resize, SplitName

# Called with the number of finished recordings and their total number.
Progress = Callable[[int, int], None]


def convert(
    root: Path,
    cache: Path,
    *,
    timesteps: int,
    frames_by: FramesBy = "number",
    split: SplitName = "last100",
    resize: Resize = "exact",
    size: int = 48,
    orientation: Orientation = "canonical",
    layout: int = 0,
    wait: bool = False,
    progress: Progress | None = None,
) -> Cache:
    """The cache of the recordings in `root` for these settings, built in the folder `cache` if it does not exist yet.

    It has `timesteps` frames [2, size, size] per recording. Where the size or the time of a recording has changed, a
    new cache is built. `layout` 0 takes the one found; `wait` waits for another process that builds the same cache. A
    process that dies leaves nothing that loads. Raises EventDataError, which names a file and the remedy, Unreadable
    with all files that cannot be read, and OSError.
    """
    if timesteps < 1 or not 1 <= size <= SIDE:
        raise EventDataError(f"T = {timesteps} and size = {size}: expected T ≥ 1 and a size of 1 to {SIDE} pixels")
    root = root.resolve()
    found = detect(root, timesteps=timesteps, frames_by=frames_by, layout=layout)
    listing = list_recordings(found)
    chosen = split_recordings(listing.recordings, split, layout=found.layout)
    settings = {
        "source": str(found.folder),
        "layout": found.layout,
        "orientation": describe(found.layout, orientation),
        "timesteps": timesteps,
        "frames_by": frames_by,
        "split": chosen.name,
        "index_sha256": chosen.sha256,
        "files_sha256": fingerprint(listing.recordings),
        "resize": resize,
        "size": size,
    }
    folder = cache / key_of(settings)
    if done := load(folder):
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with lock(_lock_of(folder), wait=wait) as held:
        if done := load(folder):
            return done
        remove_leftovers(cache)
        building = _building(folder)
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        try:
            report = _beating(held, progress)
            remarks = [*listing.strays, *listing.gaps]
            manifest = _build(building, found, chosen, settings, remarks, orientation == "canonical", report)
            held.beat()
            seal(building, manifest)
            held.beat()
            # An existing folder did not load.
            shutil.rmtree(folder, ignore_errors=True)
            building.rename(folder)
        finally:
            if held.is_mine():
                shutil.rmtree(building, ignore_errors=True)
    done = load(folder)
    if done is None:
        raise EventDataError(f"{folder} does not load right after it was written: check the disk, then convert again")
    return done


def remove_leftovers(cache: Path) -> None:
    """Delete the partial results of killed conversions in the folder `cache`, but not those of running ones."""
    for building in cache.glob("cifar10_dvs-*.building"):
        try:
            with lock(building.with_suffix(".lock"), wait=False):
                shutil.rmtree(building, ignore_errors=True)
        except AlreadyLocked:
            continue


def _build(
    folder: Path,
    found: FoundLayout,
    split: Split,
    settings: dict[str, Any],
    remarks: list[str],
    canonical: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Write the arrays of both parts; returns the manifest.

    Raises Unreadable, with all recordings that cannot be read, after all have been tried.
    """
    done, total = 0, len(split.train) + len(split.test)
    problems: list[str] = []
    types: dict[str, str] = {}
    remarks = list(remarks)
    size, legacy = settings["size"], settings["resize"] == "legacy_pil"
    for part, recordings in zip(PARTS, (split.train, split.test), strict=True):
        stored = []
        shape = (settings["timesteps"], 2, size, size)
        with GrowingArray(folder / f"{part}.npy", len(recordings), shape) as array:
            for one in recordings:
                done += 1
                try:
                    frames, label = decode(
                        found, one.path, timesteps=settings["timesteps"], frames_by=settings["frames_by"]
                    )
                except DataError as error:
                    problems.append(str(error))
                except OSError as error:
                    problems.append(described(error))
                # A set without some of its recordings would be another one, so the rest is only tried.
                if not problems:
                    stored += [] if label is None else [label]
                    frames = to_canonical(frames, found.layout) if canonical else frames
                    array.append((resizing.legacy_pil if legacy else resizing.exact)(frames, size))
                progress(done, total)
        if problems:
            continue
        remarks += check_labels(recordings, stored) if stored else []
        types[part] = array.type
        _write_labels(folder / f"{part}_labels.npy", recordings)
    scale = resizing.LEGACY_SCALE if legacy else 1.0
    if problems:
        raise Unreadable(problems, total)
    samples = {"train": len(split.train), "test": len(split.test)}
    return settings | {"name": "cifar10_dvs", "samples": samples, "types": types, "scale": scale, "remarks": remarks}


def _beating(held: Held, progress: Progress | None) -> Progress:
    """Wrap `progress` so that it also keeps the lock fresh."""

    def report(done: int, total: int) -> None:
        held.beat()
        if progress is not None:
            progress(done, total)

    return report


def _write_labels(path: Path, recordings: Sequence[Recording]) -> None:
    np.save(path, np.array([one.label for one in recordings], dtype=np.int64))


def _building(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.building")


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.data.events.convert", description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that holds CIFAR10-DVS in any layout")
    parser.add_argument("cache", type=Path, metavar="CACHE", help="folder to write the cache into")
    parser.add_argument("timesteps", type=int, metavar="T", help="frames of a recording")
    parser.add_argument("--frames-by", choices=get_args(FramesBy), default="number")
    parser.add_argument("--split", choices=get_args(SplitName), default="last100")
    parser.add_argument("--resize", choices=get_args(Resize), default="exact")
    parser.add_argument("--size", type=int, default=48, help="side of a frame in pixels")
    parser.add_argument("--orientation", choices=get_args(Orientation), default="canonical")
    parser.add_argument("--layout", type=int, choices=(0, 1, 3, 4, 5), default=0, help="0 takes the one that is there")
    return parser


class _Lines:
    """Prints progress to stderr, one line per second and the last one."""

    def __init__(self) -> None:
        self.next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self.next or done == total:
            sys.stderr.write(f"{done}/{total} recordings\n")
            sys.stderr.flush()
            self.next = now + 1.0


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    settings = vars(_parser().parse_args(words))
    try:
        cache = convert(settings.pop("root"), settings.pop("cache"), progress=_Lines(), **settings)
    except (DataError, OSError) as error:
        each = error.problems if isinstance(error, Unreadable) else ()
        sys.stdout.write(json.dumps({"problem": str(error), "files": each}) + "\n")
        return 1
    sys.stdout.write(json.dumps(cache.manifest | {"folder": str(cache.folder)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
