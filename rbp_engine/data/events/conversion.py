"""Decode recordings once, into a cache of frames."""

import math
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rbp_engine.child import Progress, no_progress
from rbp_engine.data.events import resize as resizing
from rbp_engine.data.events.cache import Cache, key_of, load, seal
from rbp_engine.data.events.narrow_array import write_narrowly
from rbp_engine.data.events.plan import PARTS, FrameSettings, Plan, fingerprint
from rbp_engine.data.files import attempted
from rbp_engine.errors import DataError
from rbp_engine.lease import taken, try_take


class Unreadable(DataError):
    """Some recordings cannot be read; `problems` has a message for each, which names its file."""

    def __init__(self, problems: Sequence[str], total: int) -> None:
        self.problems = tuple(problems)
        which = "the first is " if len(problems) > 1 else ""
        said = f"{len(problems)} of {total} recordings cannot be read, so none were converted"
        super().__init__(f"{said}: {which}{problems[0]}")


def cached(
    name: str,
    classes: int,
    plan: Plan,
    wanted: FrameSettings,
    cache: Path,
    *,
    wait: bool = False,
    on_progress: Progress = no_progress,
) -> Cache:
    """The frames of a plan of the data set of this name, built in the folder `cache` if they do not exist yet.

    Where the size or the time of a recording has changed, they are built anew. `wait` waits for another process that
    builds them. A process that dies leaves nothing that loads. Raises DataError, which names a file and the
    remedy, Unreadable with all files that cannot be read, LeaseHeld if another process builds them, and OSError.
    """
    settings = plan.settings | {
        "timesteps": wanted.timesteps,
        "frames_by": wanted.frames_by,
        "files_sha256": fingerprint(plan.files),
        "resize": wanted.resize,
        "size": wanted.size,
    }
    folder = cache / key_of(name, settings)
    if done := load(folder):
        return done
    cache.mkdir(parents=True, exist_ok=True)
    with taken(folder.with_name(f"{folder.name}.lock"), patience_s=math.inf if wait else 0.0):
        if done := load(folder):
            return done
        remove_leftovers(cache)
        building = folder.with_name(f"{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        try:
            made = _build(building, plan, wanted, on_progress)
            seal(building, settings | {"name": name, "classes": classes} | made)
            # An existing folder did not load.
            shutil.rmtree(folder, ignore_errors=True)
            building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    done = load(folder)
    if done is None:
        raise DataError(f"{folder} does not load right after it was written: check the disk, then convert again")
    return done


def remove_leftovers(cache: Path) -> None:
    """Delete the partial results of killed conversions in the folder `cache`, but not those of running ones."""
    for building in cache.glob("*.building"):
        if lease := try_take(building.with_suffix(".lock")):
            shutil.rmtree(building, ignore_errors=True)
            lease.release()


def _build(folder: Path, plan: Plan, wanted: FrameSettings, on_progress: Progress) -> dict[str, Any]:
    """Write the arrays of both parts; returns what the manifest says of them.

    Raises Unreadable, with all recordings that cannot be read, after all have been tried.
    """
    recordings = [*plan.train, *plan.test]
    problems: list[str] = []
    types: dict[str, str] = {}
    legacy = wanted.resize == "legacy_pil"

    def frames(first: int, place: int) -> Any:
        number = first + place
        found: Any = attempted(partial(plan.read, recordings[number]), problems)
        on_progress(f"{number + 1}/{len(recordings)} recordings", (number + 1) / len(recordings))
        # A set without some of its recordings would be another one, so the rest is only tried.
        return None if problems else (resizing.legacy_pil if legacy else resizing.exact)(found, wanted.size)

    shape = (wanted.timesteps, 2, wanted.size, wanted.size)
    for part, chosen, first in zip(PARTS, (plan.train, plan.test), (0, len(plan.train)), strict=True):
        path = folder / f"{part}.npy"
        types[part] = write_narrowly(path, len(chosen), shape, partial(frames, first))
        np.save(folder / f"{part}_labels.npy", np.array([one.label for one in chosen], dtype=np.int64))
    if problems:
        raise Unreadable(problems, len(recordings))
    samples = {"train": len(plan.train), "test": len(plan.test)}
    scale = resizing.LEGACY_SCALE if legacy else 1.0
    return {"samples": samples, "types": types, "scale": scale, "remarks": [*plan.gaps]}
