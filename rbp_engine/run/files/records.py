"""The record of an attempt in run.json: which process was started for it. The starter writes it once it knows the pid.

If the starter is killed just before, the worker finds the contents of the record in the claim of the attempt,
`control/attempt-<number>`, and writes it itself.
"""

from typing import Any

from rbp_engine import os_process
from rbp_engine.run.files.description import attempts_in
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.status.status import last_attempt


def leave_to_worker(run: RunDirectory, record: dict[str, Any]) -> None:
    """Write the record, still without the pid, into the claim."""
    claim = run.claim(record["attempt"])
    write_json(claim, read_json(claim) | {"record": record})


def put_on_record(run: RunDirectory, record: dict[str, Any], pid: int) -> None:
    """Add the record to run.json; `pid` is that of the worker, or of the launcher of several."""
    described: dict[str, Any] = read_json(run.run_json)
    started = {"pid": pid, "pid_started": os_process.start_time(pid)}
    attempt = {name: value for name, value in record.items() if name != "resources"} | started
    attempts = [*attempts_in(described), attempt]
    write_json(run.run_json, described | {"resources": record["resources"], "attempts": attempts})


def see_to_record(run: RunDirectory, attempt: int, pid: int) -> bool:
    """Write the record of an attempt if its starter has died without doing so; False while it may still do it."""
    if last_attempt(run).get("attempt") == attempt:
        return True
    claim = read_json(run.claim(attempt))
    if os_process.is_alive(claim.get("pid"), claim.get("pid_started")):
        return False
    if isinstance(record := claim.get("record"), dict):
        put_on_record(run, record, pid)
    return True
