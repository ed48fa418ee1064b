"""Find the processes of a run by the marker in their environment, never by name or group, and signal them."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from rbp_engine.run.errors import RunError, Taken
from rbp_engine.run.files.layout import RunDirectory

MARKER = "RBP_RUN_ID"
# Two runs directories may contain the same id, so the folder is part of the marker.
FOLDER = "RBP_RUN_DIR"
# A hook gets the same variables but is not a process of the run: it may resume the run, or train another.
HOOK = "RBP_HOOK"
# How long the processes of a run that has ended have to leave.
LEAVE_S = 10.0
MARKS = (MARKER, FOLDER, HOOK, "RBP_ATTEMPT", "RBP_STATUS", "RBP_REASON", "RBP_CAUSE", "RBP_ALERT")


def marker(run: RunDirectory) -> dict[str, str]:
    """The environment variables that every process of the run carries."""
    return {MARKER: run.id, FOLDER: str(run.path.resolve()), HOOK: ""}


def without_marks(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without marks, for a process that belongs to no run."""
    return {name: value for name, value in environment.items() if name not in MARKS}


def processes_of(run: RunDirectory) -> list[psutil.Process]:
    """All live processes of the run on this host, except this one."""
    return processes_by_run().get(RunDirectory(run.path.resolve()), [])


def remaining_processes(run: RunDirectory, leave_s: float | None = None) -> list[psutil.Process]:
    """Processes of the run that still exist, after a grace period for those that have just reported their end: LEAVE_S,
    unless it is given."""
    deadline = time.monotonic() + (LEAVE_S if leave_s is None else leave_s)
    while (left := processes_of(run)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def refuse_remaining(run: RunDirectory, leave_s: float | None = None) -> None:
    """Raise Taken for a run that has not ended as it seems: a process of it is frozen, and may yet go on."""
    if left := remaining_processes(run, leave_s):
        raise Taken(f"{run.id} still has process {left[0].pid}: rbp stop --now {run.id} first")


def may_signal(run: RunDirectory, process: psutil.Process) -> bool:
    """Whether a process carries the run's marker and belongs to this user; asked before every signal to one of a run.

    Root may read all environments, and another user may put any marker into that of their own process.
    """
    try:
        owners = process.uids()
    except psutil.Error:
        return False
    environment = _environment(process) or {}
    marked = all(environment.get(name, "") == value for name, value in marker(run).items())
    return marked and owners.real == owners.effective == os.geteuid()


def send_signal(run: RunDirectory, process: psutil.Process, number: signal.Signals) -> bool:
    """Signal a process if it is the run's and this user's; False if it is not, or has ended.

    Raises RunError if the system does not allow it.
    """
    if not may_signal(run, process):
        return False
    try:
        process.send_signal(number)
    except psutil.AccessDenied as error:
        raise RunError(f"{run.id}: this user may not signal its process {process.pid}") from error
    except psutil.Error:  # it has just ended
        return False
    return True


def processes_by_run() -> dict[RunDirectory, list[psutil.Process]]:
    """The live processes of all runs on this host, except this one and those that this user may not inspect."""
    found: dict[RunDirectory, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid() or (environment := _environment(process)) is None:
            continue
        folder = environment.get(FOLDER)
        if folder and environment.get(MARKER) and not environment.get(HOOK):
            found.setdefault(RunDirectory(Path(folder)), []).append(process)
    return found


def _environment(process: psutil.Process) -> dict[str, str] | None:
    """The environment of a process; None if it has ended or this user may not inspect it."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return None


def kill_all(run: RunDirectory, patience_s: float = 10.0) -> int:
    """SIGKILL processes of the run until none is left; returns how many.

    Raises TimeoutError if some remain, RunError if one may not be signalled.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + patience_s
    while signalled := [one for one in processes_of(run) if send_signal(run, one, signal.SIGKILL)]:
        killed |= {process.pid for process in signalled}
        if time.monotonic() > deadline:
            raise TimeoutError(f"still alive after SIGKILL: {sorted(process.pid for process in signalled)}")
        psutil.wait_procs(signalled, timeout=1.0)
    return len(killed)
