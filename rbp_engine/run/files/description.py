"""The attempts and faults in `run.json`, checked against the types that rbp writes.

The file may be damaged or come from elsewhere; entries and fields that do not fit are left out.
"""

from typing import Any

from rbp_engine.run.files.json_fields import LATEST_T

COUNTS = frozenset({"attempt", "pid", "world_size", "nodes", "stderr_from"})
TIMES = frozenset({"t", "pid_started"})
WORDS = frozenset({"host", "status", "reason", "cause"})


def attempts_in(described: dict[str, Any]) -> list[dict[str, Any]]:
    """The attempts, oldest first: attempt, pid, pid_started, host, t, world_size, nodes, stderr_from."""
    return _objects(described.get("attempts"))


def faults_in(described: dict[str, Any]) -> list[dict[str, Any]]:
    """The faults after which the run was restarted: attempt, status, cause, reason, t."""
    return _objects(described.get("faults"))


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [fitting(entry) for entry in value if isinstance(entry, dict)]


def fitting(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry that have the expected type."""
    return {name: item for name, item in entry.items() if _fits(name, item)}


def _fits(name: str, value: Any) -> bool:
    if name in WORDS:
        return isinstance(value, str)
    if name in COUNTS:
        return type(value) is int and 0 <= value <= LATEST_T
    return name not in TIMES or (type(value) in (int, float) and 0 <= value <= LATEST_T)
