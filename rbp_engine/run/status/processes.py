"""Find the processes of a run by the marker in their environment, never by name or group."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from rbp_engine.os_process import is_alive
from rbp_engine.run.files.layout import RunDirectory

MARKER = "RBP_RUN_ID"
# Two runs directories may contain the same id, so the folder is part of the marker.
FOLDER = "RBP_RUN_DIR"
# A hook gets the same variables but is not a process of the run: it may resume the run, or train another.
HOOK = "RBP_HOOK"
MARKS = (MARKER, FOLDER, HOOK, "RBP_ATTEMPT", "RBP_STATUS", "RBP_REASON", "RBP_CAUSE")


def marker(run: RunDirectory) -> dict[str, str]:
    """The environment variables that every process of the run carries."""
    return {MARKER: run.id, FOLDER: str(run.path.resolve()), HOOK: ""}


def without_marks(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without marks, for a process that belongs to no run."""
    return {name: value for name, value in environment.items() if name not in MARKS}


def is_alive_of(run: RunDirectory, pid: Any, started: Any) -> bool:
    """`is_alive` for a process of the run. If the clock was set, the marker tells it from a later one with its pid."""
    if is_alive(pid, started):
        return True
    try:
        environment = _environment(psutil.Process(pid)) if isinstance(pid, int) else None
    except (psutil.Error, ValueError, OverflowError):
        return False
    return environment is not None and _has(environment, marker(run))


def processes_of(run: RunDirectory) -> list[psutil.Process]:
    """All live processes of the run on this host, except this one."""
    mark = marker(run)
    return [process for process, environment in _live_processes() if _has(environment, mark)]


def processes_by_run() -> dict[RunDirectory, list[psutil.Process]]:
    """The live processes of all runs on this host, except this one and those that this user may not inspect."""
    found: dict[RunDirectory, list[psutil.Process]] = {}
    for process, environment in _live_processes():
        folder = environment.get(FOLDER)
        if folder and environment.get(MARKER) and not environment.get(HOOK):
            found.setdefault(RunDirectory(Path(folder)), []).append(process)
    return found


def _live_processes() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """Live processes with their environments."""
    for process in psutil.process_iter():
        if process.pid != os.getpid() and (environment := _environment(process)) is not None:
            yield process, environment


def _environment(process: psutil.Process) -> dict[str, str] | None:
    """The environment of a process; None if it has ended or this user may not inspect it."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return None


def _has(environment: Mapping[str, str], mark: Mapping[str, str]) -> bool:
    return all(environment.get(name, "") == value for name, value in mark.items())


def kill_all(run: RunDirectory, patience_s: float = 10.0) -> int:
    """SIGKILL processes of the run until none is left; returns how many. Raises TimeoutError if some remain."""
    killed: set[int] = set()
    deadline = time.monotonic() + patience_s
    while processes := processes_of(run):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still alive after SIGKILL: {sorted(process.pid for process in processes)}")
        for process in processes:
            killed.add(process.pid)
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue  # it has just ended
        psutil.wait_procs(processes, timeout=1.0)
    return len(killed)
