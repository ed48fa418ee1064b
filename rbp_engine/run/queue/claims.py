"""Which run has which device: a claim is an exclusively created file that names the run and the claiming process.

Callers must hold `host_lock.locked()`: a process that needs a device releases a claim whose run and process are gone,
and two that do so at once must not take the device from each other.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.owners import make_private
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge


def claims_directory() -> Path:
    return make_private(host_directory() / "claims")


def take(run: RunDirectory, devices: Iterable[Device], count: int) -> list[str]:
    """Claim `count` of the devices for a run and return their keys; claims none if fewer are free.

    A run that has claims keeps them: the process that made them may just be starting it.
    """
    if mine := claimed_by(run):
        return mine
    taken: list[str] = []
    for device in devices:
        if len(taken) == count:
            break
        if _claim(run, claims_directory() / device.key):
            taken.append(device.key)
    if len(taken) < count:
        release(run)
        return []
    return taken


def claimed_by(run: RunDirectory) -> list[str]:
    """The keys of the devices that a run has claimed."""
    return [key for key, claim in all_claims().items() if claim.get("run") == _name(run)]


def release(run: RunDirectory) -> None:
    """Release every device of a run."""
    for key in claimed_by(run):
        (claims_directory() / key).unlink(missing_ok=True)


def all_claims() -> dict[str, dict[str, Any]]:
    """Every claim, by the key of its device; a damaged one is empty."""
    if not host_directory(make=False).is_dir():
        return {}
    return {path.name: read_json(path) for path in sorted(claims_directory().iterdir())}


def is_stale(claim: dict[str, Any]) -> bool:
    """Whether a claim is abandoned: the claiming process is gone, and its run has no processes."""
    if not isinstance(claim.get("run"), str):
        return True  # torn: its writer died, since no other process can be writing under the lock
    if os_process.is_alive(claim.get("pid"), claim.get("pid_started")):
        return False
    run = RunDirectory(Path(claim["run"]))
    verdict = judge(run)
    return (verdict.status == "queued" or not verdict.live) and not processes.processes_of(run)


def holder(key: str) -> str:
    """The id of the run that has a device, "" if none has."""
    claim = read_json(claims_directory() / key)
    return Path(claim["run"]).name if isinstance(claim.get("run"), str) else ""


def stale_claims() -> list[str]:
    """The keys of the devices whose claims are stale."""
    return [key for key, claim in all_claims().items() if is_stale(claim)]


def _claim(run: RunDirectory, path: Path) -> bool:
    if path.exists() and is_stale(read_json(path)):
        path.unlink()
    me = os.getpid()
    claim = {"run": _name(run), "pid": me, "pid_started": os_process.start_time(me)}
    try:
        with path.open("x") as file:
            json.dump(claim, file)
    except FileExistsError:
        return False
    return True


def _name(run: RunDirectory) -> str:
    return str(run.path.resolve())
