"""How many processes read images for a rank. Without torch."""

import os
from collections.abc import Mapping
from typing import Literal

from rbp_engine.cores import cores_here

#: More than this many processes seldom read faster than one network trains.
MOST_FOR_AUTO = 8


def cores_of_a_rank(environment: Mapping[str, str] = os.environ) -> int:
    """The cores of this machine that one of the run's processes on it has, at least 1."""
    return max(1, cores_here(environment) // max(1, int(environment.get("LOCAL_WORLD_SIZE", "1"))))


def reading_processes(wanted: int | Literal["auto"], cores: int) -> int:
    """The number for `data.workers` in a rank that has `cores`; "auto" leaves one of them for training."""
    return min(cores - 1, MOST_FOR_AUTO) if wanted == "auto" else wanted


def too_many(wanted: int | Literal["auto"], cores: int) -> list[str]:
    """A warning if more processes were asked for than there are cores to run them."""
    if wanted == "auto" or wanted <= cores:
        return []
    have = "1 core" if cores == 1 else f"{cores} cores"
    return [
        f"data.workers = {wanted}, but a process of this run has {have} here: with fewer, or data.workers=auto, "
        "reading takes less memory and is no slower"
    ]


def unused(wanted: int | Literal["auto"]) -> list[str]:
    """A warning if processes were asked for by number where batches are made without them."""
    if wanted in ("auto", 0):
        return []
    return [f"data.workers = {wanted} has no effect: batches of this data are made in memory, without other processes"]
