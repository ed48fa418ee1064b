"""What a user changes in the queue: the order of waiting runs, and a pause of all."""

import time
from collections.abc import Sequence
from dataclasses import replace

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue.entries import Entry, entries, write_entry
from rbp_engine.run.queue.host_lock import host_directory, locked, usable
from rbp_engine.run.queue.observe import pause_file
from rbp_engine.run.status.status import judge

_SECOND = 10**9
# Between runs whose places leave no room between them.
_APART = 10**6


def set_paused(paused: bool) -> bool:
    """Start nothing more until that is ended; runs that have started go on. False if it is so already."""
    host_directory()
    with usable(pause_file()):
        if pause_file().exists() is paused:
            return False
        if paused:
            pause_file().touch()
        else:
            pause_file().unlink(missing_ok=True)
    return True


def move(runs: Sequence[RunDirectory], *, first: bool = False, before: RunDirectory | None = None) -> None:
    """Put waiting runs, in this order, directly before another one, `first` of all, or else behind all others.

    Raises RunError, and changes nothing, if one of all these is not waiting.
    """
    if before in runs:
        raise RunError(f"{runs[0].id} cannot be moved before itself")
    with locked():
        moved, others = _apart(runs)
        paths = [entry.run.path for entry in others]
        if before is not None and before.path.resolve() not in paths:
            raise _not_waiting(before)
        _insert(moved, others, paths.index(before.path.resolve()) if before else 0 if first else len(others))


def _insert(moved: Sequence[Entry], others: Sequence[Entry], at: int) -> None:
    """Put entries before the one of the others with the index `at`. The caller must hold `locked()`."""
    if at == len(others):
        last = others[-1].place if others else 0
        first, step = max(last + 1, time.time_ns()), 1
    else:
        before = others[at - 1].place if at else others[at].place - (len(moved) + 1) * _SECOND
        step = (others[at].place - before) // (len(moved) + 1)
        first = before + step
    if step == 0:  # no room: those before it make way
        moved, step = [*others[:at], *moved], _APART
        first = others[at].place - len(moved) * step
    for number, entry in enumerate(moved):
        write_entry(replace(entry, place=first + number * step))


def move_by_one(run: RunDirectory, *, later: bool) -> None:
    """Let a waiting run and the one before it, or behind it if `later`, change places; at an end it stays.

    Raises RunError if it is not waiting.
    """
    waiting = [entry.run for entry in entries() if judge(entry.run).status == "queued"]
    place = next((place for place, one in enumerate(waiting) if one.path == run.path.resolve()), None)
    if place is None:
        raise _not_waiting(run)
    if later and place + 1 < len(waiting):
        move([waiting[place + 1]], before=run)
    elif not later and place:
        move([run], before=waiting[place - 1])


def _apart(runs: Sequence[RunDirectory]) -> tuple[list[Entry], list[Entry]]:
    """The entries of these runs, in their order, and those of all other waiting runs, in that of the queue."""
    waiting = {entry.run.path: entry for entry in entries() if judge(entry.run).status == "queued"}
    moved: list[Entry] = []
    for run in runs:
        entry = waiting.pop(run.path.resolve(), None)
        if entry is None:
            raise _not_waiting(run)
        moved.append(entry)
    return moved, list(waiting.values())


def _not_waiting(run: RunDirectory) -> RunError:
    return RunError(f"{run.id} does not wait in the queue of this host, it is {judge(run).status}: rbp queue")
