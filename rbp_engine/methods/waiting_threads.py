"""Threads of a script that has imported torch first: they too should sleep while they wait for each other."""

import contextlib
import functools
import os
import threading
import warnings
from pathlib import Path

import torch

from rbp_engine.cores import let_threads_sleep

# torch divides an operation among threads if each gets as many elements.
ELEMENTS_OF_A_THREAD = 32768


def let_waiting_threads_sleep(device: torch.device) -> None:
    """Have the threads of steps on a CPU sleep while they wait, and warn that importing in another order is better."""
    if device.type == "cpu" and not let_threads_sleep() and torch.get_num_threads() > 1:
        _warn(_outnumber_cores())


@functools.cache
def _outnumber_cores() -> bool:
    """Have GNU's OpenMP know of more threads than there are cores; False if torch has another OpenMP.

    While it does, those that wait look 100 times, otherwise 300 000 times, and then sleep. Unlike its variables, it
    looks at this whenever a thread waits. The additional threads only sleep.
    """
    if not _has_gnu_openmp():
        return False
    team = torch.get_num_threads()
    for _known in range(team, len(os.sched_getaffinity(0)) + 1, team - 1):
        held = threading.Event()
        threading.Thread(target=_hold_a_team, args=(held,), name="OpenMP team", daemon=True).start()
        held.wait()
    return True


def _has_gnu_openmp() -> bool:
    with contextlib.suppress(OSError):  # not Linux
        return "libgomp" in Path("/proc/self/maps").read_text()
    return False


def _hold_a_team(held: threading.Event) -> None:
    """Have this thread get a team of OpenMP's, which stays as long as the thread does."""
    torch.zeros(torch.get_num_threads() * ELEMENTS_OF_A_THREAD).add_(1)
    held.set()
    threading.Event().wait()


@functools.cache
def _warn(sleeping: bool) -> None:
    consequence = (
        "sleep at once while they wait, and a step of few images takes up to a third longer"
        if sleeping
        else "spin while they wait, and beside other programs a step takes several times as long"
    )
    warnings.warn(
        f"torch was imported before rbp_engine, so its threads {consequence}: import rbp_engine first, or set "
        "OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=1000",
        stacklevel=5,
    )
