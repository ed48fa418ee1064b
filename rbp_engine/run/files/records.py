"""The record of an attempt in run.json: what was started for it. Whoever starts it writes that, once it has a pid.

Should that one be killed in the moment between, the worker that it has started finds what is to be written in the claim
of the attempt, `control/attempt-<number>`, and writes it itself.
"""

from typing import Any

from rbp_engine import os_process
from rbp_engine.run.files.description import attempts_in
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.status.status import last_attempt


def leave_to_worker(run: RunDirectory, record: dict[str, Any]) -> None:
    """Write into the claim what the record will be, but for the pid that is to come."""
    claim = run.claim(record["attempt"])
    write_json(claim, read_json(claim) | {"record": record})


def put_on_record(run: RunDirectory, record: dict[str, Any], pid: int) -> None:
    """Write what was started for an attempt: the worker, or the launcher of several, has this pid."""
    described: dict[str, Any] = read_json(run.run_json)
    started = {"pid": pid, "pid_started": os_process.start_time(pid)}
    attempt = {name: value for name, value in record.items() if name != "resources"} | started
    attempts = [*attempts_in(described), attempt]
    write_json(run.run_json, described | {"resources": record["resources"], "attempts": attempts})


def see_to_record(run: RunDirectory, attempt: int, pid: int) -> bool:
    """Put an attempt on record whose starter is gone without having done so; False while that one may still do it."""
    if last_attempt(run).get("attempt") == attempt:
        return True
    claim = read_json(run.claim(attempt))
    if os_process.is_alive(claim.get("pid"), claim.get("pid_started")):
        return False
    if isinstance(record := claim.get("record"), dict):
        put_on_record(run, record, pid)
    return True
