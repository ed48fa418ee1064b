"""How an attempt ended whose processes are gone without having written it into the summary.

In this order: the word of rank 0; the error of the first rank that failed, from its events or from the error file of
torch.distributed; a signal in the launcher's log; a traceback in it. Exit codes say nothing.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rbp_engine.run.events import ErrorRaised, Event, RunEnd, read_last_events
from rbp_engine.run.layout import RunDirectory, read_json


def find_out(run: RunDirectory, attempt: dict[str, Any]) -> tuple[str, str]:
    """Status and reason, for the record of an attempt in run.json."""
    for event in reversed(list(_events(run, 0, attempt["attempt"]))):
        if isinstance(event.body, RunEnd):
            return event.body.status, event.body.reason
    errors = _errors(run, attempt["attempt"])
    own = [told for told, about_others in errors if not about_others]
    if own or (own := _error_files(run, since=attempt.get("t", 0.0))):
        return "failed", own[0]
    log = _log(run, attempt)
    if signals := re.findall(r"exitcode\s*:\s*-(\d+)", log):
        ranks = re.findall(r"rank\s*:\s*(\d+) \(local_rank", log)
        who = f"process {ranks[-1]} was " if ranks else ""
        return "killed", f"{who}ended by signal {signals[-1]}{_guess(int(signals[-1]))}"
    if errors:
        return "failed", errors[0][0]
    if "Traceback (most recent call last)" in log:
        return "failed", log.strip().splitlines()[-1]
    return "lost", "the process is gone without a word, probably killed (out of memory?)"


def _errors(run: RunDirectory, attempt: int) -> list[tuple[str, bool]]:
    """What the ranks have told of errors, the first that failed first, and whether it was about others."""
    ranks = run.ranks_with_events()
    told = [
        (event, event.body)
        for rank in ranks
        for event in _events(run, rank, attempt)
        if isinstance(event.body, ErrorRaised)
    ]
    told.sort(key=lambda pair: pair[0].t)
    return [
        (body.message if len(ranks) == 1 else f"process {event.rank}: {body.message}", body.about_others)
        for event, body in told
    ]


def _events(run: RunDirectory, rank: int, attempt: int) -> Iterator[Event]:
    return (event for event in read_last_events(run.events(rank)) if event.attempt == attempt)


def _error_files(run: RunDirectory, since: float) -> list[str]:
    """The messages of torch.distributed's error files that tell an error of this attempt, the oldest first."""
    found: list[tuple[float, str]] = []
    for path in run.ranks.rglob("*error.json"):
        try:
            written = path.stat().st_mtime
        except OSError:
            continue
        message = read_json(path).get("message")
        text = message.get("message") if isinstance(message, dict) else message
        # A graceful signal leaves a record as well; and file systems count time more coarsely.
        if isinstance(text, str) and "SignalException" not in text and written >= since - 1.0:
            found.append((written, text))
    return [text for _, text in sorted(found)]


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
