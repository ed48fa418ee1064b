"""What is the matter with a run: from evidence, never from an exit code.

The worker writes `starting`, `running`, `stopping` and its own end: `completed`, `stopped`, `preempted`, `failed`;
`rbp kill` writes `killed`, the queue `queued`. `lost` and `stalled` are judged here, by whoever reads, and stored
nowhere.
"""

import json
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.run.events import ErrorRaised, RunEnd, read_events
from rbp_engine.run.layout import RunDirectory, read_json
from rbp_engine.run.processes import is_alive
from rbp_engine.run.summary import Summary, read_summary

ENDED = frozenset({"completed", "stopped", "preempted", "failed", "killed"})
LIVE = frozenset({"queued", "starting", "running", "stopping", "stalled"})

HEARTBEAT_S = 5.0
LOST_AFTER_S = 30.0
STALLED_AFTER_S = 60.0
STALLED_AFTER_STEPS = 20


@dataclass(frozen=True)
class Verdict:
    """A status, and a sentence that says why."""

    status: str
    reason: str

    @property
    def live(self) -> bool:
        """Whether the run may still be doing something."""
        return self.status in LIVE

    @property
    def resumable(self) -> bool:
        return self.status in {"stopped", "preempted", "failed", "killed", "lost"}


def judge(run: RunDirectory, summary: Summary | None = None, now: float | None = None) -> Verdict:
    """The status of a run. Reads little while the run is well; a dead worker's traces only when it is gone."""
    summary = summary or read_summary(run)
    if summary is None:
        return Verdict("lost", "summary.json is missing or damaged")
    if summary.status in ENDED or summary.status == "queued":  # what waits gives no sign of life and needs none
        return Verdict(summary.status, summary.reason)
    now = time.time() if now is None else now
    attempt = last_attempt(run)
    here = attempt.get("host") == socket.gethostname()
    if attempt and attempt.get("attempt") != summary.attempt:
        attempt = {}  # a new attempt is being started, and its process is not on record yet
    silence = max(0.0, now - summary.updated)
    if attempt and here and not is_alive(attempt.get("pid"), attempt.get("pid_started")):
        verdict = _find_out(run, attempt)
        if verdict.status in ("lost", "killed") and run.kill_request.exists():
            return Verdict("killed", "killed by rbp kill")  # which is about to say so itself
        return verdict
    if silence > LOST_AFTER_S:
        if attempt and here:
            return Verdict("lost", f"no heartbeat for {silence:.0f} s, but process {attempt['pid']} is there")
        where = f" on {attempt.get('host')}" if attempt else ": it was never started"
        return Verdict("lost", f"no heartbeat for {silence:.0f} s{where}")
    idle = max(0.0, now - summary.progressed)
    patience = max(STALLED_AFTER_S, STALLED_AFTER_STEPS * (summary.step_ms or 0.0) / 1000.0)
    if summary.status == "running" and idle > patience:
        return Verdict("stalled", f"no step for {idle:.0f} s (step {summary.step})")
    return Verdict(summary.status, summary.reason)


def last_attempt(run: RunDirectory) -> dict[str, Any]:
    """The record of the newest attempt in `run.json`: attempt, pid, pid_started, host, t; empty if none started."""
    attempts = read_json(run.run_json).get("attempts")
    if isinstance(attempts, list) and attempts and isinstance(attempts[-1], dict):
        return attempts[-1]
    return {}


def _find_out(run: RunDirectory, attempt: dict[str, Any]) -> Verdict:
    """How an attempt ended whose process is gone without having written its end into the summary."""
    events = [event for event in read_events(run.events()) if event.attempt == attempt["attempt"]]
    for event in reversed(events):
        if isinstance(event.body, RunEnd):
            return Verdict(event.body.status, event.body.reason)
        if isinstance(event.body, ErrorRaised):
            return Verdict("failed", event.body.message)
    for error_file in sorted(run.ranks.rglob("error.json")):
        message = _error_message(error_file, since=attempt.get("t", 0.0))
        if message:
            return Verdict("failed", message)
    log = _tail(run.stderr(), attempt.get("stderr_from", 0))
    if signals := re.findall(r"exitcode\s*:\s*-(\d+)", log):
        return Verdict("killed", f"ended by signal {signals[-1]}{_guess(int(signals[-1]))}")
    if "Traceback (most recent call last)" in log:
        return Verdict("failed", log.strip().splitlines()[-1])
    return Verdict("lost", "the process is gone without a word, probably killed (out of memory?)")


def _error_message(error_file: Path, since: float) -> str:
    """The message of an error file of torch.distributed; empty for the record of a graceful signal, or an old one."""
    try:
        if error_file.stat().st_mtime < since - 1.0:  # file systems count time more coarsely
            return ""
        message = json.loads(error_file.read_text())["message"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    text = message.get("message") if isinstance(message, dict) else message
    return text if isinstance(text, str) and "SignalException" not in text else ""


def _guess(signal_number: int) -> str:
    return " (SIGKILL: probably out of memory)" if signal_number == 9 else ""


def _tail(path: Path, start: int, size: int = 64 * 1024) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, 2) - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
