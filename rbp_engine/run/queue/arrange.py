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


def move(runs: Sequence[RunDirectory], *, first: bool) -> None:
    """Put waiting runs, in this order, before all others, or behind them.

    Raises RunError, and changes nothing, if one is not waiting.
    """
    with locked():
        moved, others = _apart(runs)
        if first and others:
            place = others[0].place - len(moved)
        else:
            place = max([time.time_ns(), *(entry.place + 1 for entry in (*moved, *others))])
        for number, entry in enumerate(moved):
            write_entry(replace(entry, place=place + number))


def move_by_one(runs: Sequence[RunDirectory], *, later: bool) -> None:
    """Let waiting runs change places with the ones before them, or behind them if `later`; at an end they stay.

    Raises RunError, and changes nothing, if one is not waiting.
    """
    with locked():
        moved, others = _apart(runs)
        before, names = sorted([*moved, *others], key=lambda entry: entry.order), {entry.name for entry in moved}
        after = before[::-1] if later else list(before)
        for at in range(1, len(after)):
            if after[at].name in names and after[at - 1].name not in names:
                after[at - 1 : at + 1] = after[at], after[at - 1]
        place = before[0].place - 1
        for entry, old in zip(reversed(after) if later else after, before, strict=True):
            place = max(old.place, place + 1)  # two are equal if a move was interrupted
            if entry.place != place:
                write_entry(replace(entry, place=place))


def _apart(runs: Sequence[RunDirectory]) -> tuple[list[Entry], list[Entry]]:
    """The entries of these runs, in their order, and those of all other waiting runs, in that of the queue."""
    waiting = {entry.run.path: entry for entry in entries() if judge(entry.run).status == "queued"}
    moved: list[Entry] = []
    for run in runs:
        entry = waiting.pop(run.path.resolve(), None)
        if entry is None:
            raise RunError(f"{run.id} does not wait in the queue of this host, it is {judge(run).status}: rbp queue")
        moved.append(entry)
    return moved, list(waiting.values())
