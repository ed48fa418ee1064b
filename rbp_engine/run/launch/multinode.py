"""Several nodes start one run with the same command: the first to run it claims the attempt, the others join it.

Each node takes a seat by exclusive creation of `control/node-<attempt>-<number>`, and records its launcher there.
"""

import os
from pathlib import Path

import psutil

from rbp_engine import os_process
from rbp_engine.os_process import Alive, Process
from rbp_engine.run.files import inside
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory, read_record
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge


def gathering(run: RunDirectory) -> int | None:
    """The attempt that is waiting for more nodes; None if there is none."""
    summary, attempt = read_summary(run), last_attempt(run)
    if summary is None or attempt is None or attempt.attempt != summary.attempt:
        return None
    if judge(run, summary).status != "starting" or attempt.resources.nodes <= len(seats(run, summary.attempt)):
        return None
    return summary.attempt


def join(run: RunDirectory, nodes: int) -> tuple[int, int] | None:
    """Join the attempt that is waiting for more of so many nodes: its number, and that of this node in it."""
    attempt = gathering(run) if nodes > 1 else None
    node = None if attempt is None else take_seat(run, attempt, nodes)
    return None if attempt is None or node is None else (attempt, node)


def seat_file(run: RunDirectory, attempt: int, node: int) -> Path:
    """Where a node of an attempt records its launcher, as a process, once it has taken the seat."""
    return run.control / f"node-{attempt}-{node}"


def take_seat(run: RunDirectory, attempt: int, nodes: int) -> int | None:
    """Take a seat and return the number of this node in an attempt, from 0; None if all seats are taken."""
    for node in range(nodes):
        try:
            os.close(inside.open_file(seat_file(run, attempt, node), run.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        return node
    return None


def seats(run: RunDirectory, attempt: int) -> list[Process]:
    """The launchers of the nodes that have joined an attempt, in order; one that is still starting has no pid."""
    return [read_record(Process, path, Process()) for path in sorted(run.control.glob(f"node-{attempt}-*"))]


def number_of(run: RunDirectory, pid: int) -> int:
    """The number of the node whose launcher has this pid, 0 for a run on one node."""
    newest = last_attempt(run)
    joined = seats(run, newest.attempt) if newest else []
    return next((number for number, seat in enumerate(joined) if seat.pid == pid and seat.is_here), 0)


def launchers(run: RunDirectory) -> list[Process]:
    """The launcher of the newest attempt on every node, or the worker of a run that has only one."""
    attempt = last_attempt(run)
    if attempt is None:
        return []
    joined = [seat for seat in seats(run, attempt.attempt) if seat.pid is not None]
    return joined or [attempt.process]


def started_here(run: RunDirectory) -> list[psutil.Process]:
    """The `launchers` that are alive on this host, carry the run's marker and belong to this user.

    The run's files alone prove nothing: they may be a copy of another run's, or forged.
    """
    pids = [one.pid for one in launchers(run) if one.is_here]
    return [one for one in processes.processes_of(run) if one.pid in pids and processes.may_signal(run, one)]


def unrelated_here(run: RunDirectory) -> list[int]:
    """The pids of `launchers` alive on this host that are not known to be the run's: unrelated, or another user's."""
    known = [process.pid for process in started_here(run)]
    return [
        one.pid
        for one in launchers(run)
        if one.pid is not None and one.pid not in known and os_process.is_alive(one) is Alive.YES
    ]
