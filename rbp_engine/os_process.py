"""Whether a process on this host is alive: its pid and start time distinguish it from a later one."""

from typing import Any

import psutil


def start_time(pid: int) -> float | None:
    """The start time of a process (seconds since the epoch); None if it does not exist or is a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError):  # ValueError: an invalid pid, from a damaged run.json
        return None


def is_alive(pid: Any, started: Any) -> bool:
    """Whether the process with this pid is alive and the one that started at this time: pids are reused."""
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return False
    now = start_time(pid)
    # The start time is counted from boot, and the boot time is computed from a clock that may be set.
    return now is not None and abs(now - started) < 2.0
