"""How an attempt ended whose processes are gone without having written it into the summary.

In this order: the word of rank 0; the error of the first rank that failed, from its events or from the error file of
torch.distributed; a signal in the launcher's log; a traceback in it. Exit codes say nothing.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rbp_engine.run.events import ErrorRaised, Event, RunEnd, read_events
from rbp_engine.run.layout import RunDirectory


def find_out(run: RunDirectory, attempt: dict[str, Any]) -> tuple[str, str]:
    """Status and reason, for the record of an attempt in run.json."""
    for event in reversed(list(_events(run, 0, attempt["attempt"]))):
        if isinstance(event.body, RunEnd):
            return event.body.status, event.body.reason
    if (error := first_error(run, attempt["attempt"])) is not None:
        return "failed", error
    if (error := _error_file(run, since=attempt.get("t", 0.0))) is not None:
        return "failed", error
    log = _log(run, attempt)
    if signals := re.findall(r"exitcode\s*:\s*-(\d+)", log):
        ranks = re.findall(r"rank\s*:\s*(\d+) \(local_rank", log)
        who = f"process {ranks[-1]} was " if ranks else ""
        return "killed", f"{who}ended by signal {signals[-1]}{_guess(int(signals[-1]))}"
    if "Traceback (most recent call last)" in log:
        return "failed", log.strip().splitlines()[-1]
    return "lost", "the process is gone without a word, probably killed (out of memory?)"


def first_error(run: RunDirectory, attempt: int) -> str | None:
    """The error of the rank that failed first in an attempt; None where no rank has told one."""
    ranks = run.ranks_with_events()
    errors = [event for rank in ranks for event in _events(run, rank, attempt) if isinstance(event.body, ErrorRaised)]
    if not errors:
        return None
    first = min(errors, key=lambda event: event.t)
    assert isinstance(first.body, ErrorRaised)
    return first.body.message if len(ranks) == 1 else f"process {first.rank}: {first.body.message}"


def _events(run: RunDirectory, rank: int, attempt: int) -> Iterator[Event]:
    return (event for event in read_events(run.events(rank)) if event.attempt == attempt)


def _error_file(run: RunDirectory, since: float) -> str | None:
    """The message of the oldest error file of torch.distributed that tells an error of this attempt."""
    found: list[tuple[float, str]] = []
    for path in run.ranks.rglob("*error.json"):
        try:
            written = path.stat().st_mtime
            message = json.loads(path.read_text())["message"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        text = message.get("message") if isinstance(message, dict) else message
        # A graceful signal leaves a record as well; and file systems count time more coarsely.
        if isinstance(text, str) and "SignalException" not in text and written >= since - 1.0:
            found.append((written, text))
    return min(found)[1] if found else None


def _guess(signal_number: int) -> str:
    return " (SIGKILL: probably out of memory)" if signal_number == 9 else ""


def _log(run: RunDirectory, attempt: dict[str, Any]) -> str:
    """The last lines of what the launchers of all nodes have printed in this attempt, or the single worker's errors."""
    if attempt.get("world_size", 1) == 1:
        return _tail(run.stderr(), attempt.get("stderr_from", 0))
    logs = sorted(run.ranks.glob(f"launcher-{attempt['attempt']}-node*.log"))
    return "\n".join(_tail(path, 0) for path in logs)


def _tail(path: Path, start: int, size: int = 64 * 1024) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, 2) - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
