"""Whether a process of this host lives: its pid and when it started tell it from a later one."""

from typing import Any

import psutil


def start_time(pid: int) -> float | None:
    """When the process started (seconds since the epoch); None if there is none or it is a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except (psutil.Error, ValueError):  # ValueError: no pid at all, from a damaged run.json
        return None


def is_alive(pid: Any, started: Any) -> bool:
    """Whether the process of that pid is the one that started then: pids are used again."""
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return False
    now = start_time(pid)
    # The start time is counted from boot, and the boot time is read off a clock that may be set.
    return now is not None and abs(now - started) < 2.0
