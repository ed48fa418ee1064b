"""Which run has which device: a claim is an exclusively created file that names the run and the claiming process.

Callers must hold `host_lock.locked()`: a process that needs a device releases a claim whose run and process are gone,
and two that do so at once must not take the device from each other.
"""

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.os_process import Alive
from rbp_engine.owners import make_private
from rbp_engine.run.files.json_fields import process_in
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge


def claims_directory() -> Path:
    return make_private(host_directory() / "claims")


def take(run: RunDirectory, keys: Collection[str]) -> bool:
    """Claim exactly these devices for a run; False if another run has one of them, and then the run has none."""
    for key in set(claimed_by(run)) - set(keys):
        (claims_directory() / key).unlink(missing_ok=True)
    if all(_claim(run, claims_directory() / key) for key in keys):
        return True
    release(run)
    return False


def claimed_by(run: RunDirectory) -> list[str]:
    """The keys of the devices that a run has claimed."""
    return [key for key, folder in holders().items() if folder == _name(run)]


def release(run: RunDirectory) -> None:
    """Release every device of a run."""
    for key in claimed_by(run):
        (claims_directory() / key).unlink(missing_ok=True)


def all_claims() -> dict[str, dict[str, Any]]:
    """Every claim, by the key of its device; a damaged one is empty."""
    if not host_directory(make=False).is_dir():
        return {}
    return {path.name: read_json(path) for path in sorted(claims_directory().iterdir())}


def holders() -> dict[str, str]:
    """The folder of the run that claimed each device, by the key of the device; damaged claims are left out."""
    return {key: claim["run"] for key, claim in all_claims().items() if isinstance(claim.get("run"), str)}


def live_claims() -> dict[str, str]:
    """The same, without stale claims."""
    return {key: claim["run"] for key, claim in all_claims().items() if not is_stale(claim)}


def is_stale(claim: dict[str, Any]) -> bool:
    """Whether a claim is abandoned: the claiming process is gone, and its run has no processes."""
    if not isinstance(claim.get("run"), str):
        return True  # torn: its writer died, since no other process can be writing under the lock
    if os_process.is_alive(process_in(claim.get("process"))) is Alive.YES:
        return False
    run = RunDirectory(Path(claim["run"]))
    verdict = judge(run)
    return (verdict.status == "queued" or not verdict.live) and not processes.processes_of(run)


def stale_claims() -> list[str]:
    """The keys of the devices whose claims are stale."""
    return [key for key, claim in all_claims().items() if is_stale(claim)]


def _claim(run: RunDirectory, path: Path) -> bool:
    """Claim a device, also one that the run has already: the process that claimed it may have died."""
    if path.exists():
        claim = read_json(path)
        if claim.get("run") != _name(run) and not is_stale(claim):
            return False
        path.unlink()
    try:
        with path.open("x") as file:
            json.dump({"run": _name(run), "process": asdict(os_process.here())}, file)
    except FileExistsError:
        return False
    return True


def _name(run: RunDirectory) -> str:
    return str(run.path.resolve())
