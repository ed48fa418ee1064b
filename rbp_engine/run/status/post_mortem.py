"""Find out how an attempt ended whose processes died before they could write it to the summary.

The evidence, in this order: the `run_end` of rank 0; the error of the first rank that failed, from its events or from
the error file of torch.distributed; a signal in the launcher's log; a traceback in it. The launcher's exit code says
nothing.

Events name the cause. Of torchrun's report and of a traceback in a log only text is left, from which it is found here.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import AttemptRecord
from rbp_engine.run.files.event_reader import read_last_events
from rbp_engine.run.files.events import ErrorRaised, Event, RunEnd
from rbp_engine.run.files.layout import RunDirectory, contents, read_json
from rbp_engine.run.status.error_texts import GRACEFUL_SIGNAL, cause_of_text
from rbp_engine.untrusted_files import open_untrusted


def diagnose(run: RunDirectory, attempt: AttemptRecord) -> tuple[str, str, Cause]:
    """Status, reason and cause of an attempt."""
    for event in reversed(list(_events(run, 0, attempt.attempt))):
        if isinstance(end := event.body, RunEnd):
            return end.status, end.reason, Cause(end.cause)
    errors = _errors(run, attempt.attempt)
    own = [(text, cause) for text, cause, about_others in errors if not about_others]
    if own or (own := _errors_in_files(run, attempt)):
        return "failed", *own[0]
    log = _log(run, attempt)
    if killed := _killed(log):
        return "killed", killed, Cause.LOST_PROCESS
    if errors:
        return "failed", errors[0][0], Cause.LOST_PROCESS
    read_only = _is_read_only(run.path)
    if "Traceback (most recent call last)" in log and (read_only or not _was_interrupted(run, attempt)):
        last = log.strip().split("\n")[-1]
        return "failed", last, cause_of_text(last)
    gone = "the process is gone without a word"
    if read_only:
        return "lost", f"{gone}: the file system of {run.path} has become read-only", Cause.DISK
    return "lost", f"{gone}, probably killed (out of memory?)", Cause.LOST_PROCESS


def _is_read_only(path: Path) -> bool:
    """Whether the file system is read-only, so that no process could have reported its end."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _errors(run: RunDirectory, attempt: int) -> list[tuple[str, Cause, bool]]:
    """The errors that the ranks reported, oldest first: message, cause, and whether it was about other processes."""
    ranks = run.ranks_with_events()
    reported = [
        (event, event.body)
        for rank in ranks
        for event in _events(run, rank, attempt)
        if isinstance(event.body, ErrorRaised)
    ]
    reported.sort(key=lambda pair: pair[0].t)
    return [
        (
            body.message if len(ranks) == 1 else f"process {event.rank}: {body.message}",
            Cause(body.cause),
            body.about_others,
        )
        for event, body in reported
    ]


def _events(run: RunDirectory, rank: int, attempt: int) -> Iterator[Event]:
    return (event for event in read_last_events(run.events(rank)) if event.attempt == attempt)


def _errors_in_files(run: RunDirectory, attempt: AttemptRecord) -> list[tuple[str, Cause]]:
    """The errors of this attempt in torch.distributed's error files, oldest first: message and cause."""
    found: list[tuple[float, str]] = []
    since = attempt.t or 0.0
    one_of_many = attempt.world_size > 1 and attempt.resources.nodes == 1  # folders are named by local rank
    with contextlib.suppress(RunError):  # what cannot be read says nothing
        for path, at in contents(run.ranks):
            message = read_json(path).get("message") if path.name.endswith("error.json") else None
            text = message.get("message") if isinstance(message, dict) else message
            if isinstance(text, str) and GRACEFUL_SIGNAL not in text and at.st_mtime >= since:
                rank = path.parent.name
                text = visible(text)
                reported = f"process {rank}: {text}" if one_of_many and rank.isdecimal() else text
                found.append((at.st_mtime, reported))
    return [(text, cause_of_text(text)) for _, text in sorted(found)]


def _was_interrupted(run: RunDirectory, attempt: AttemptRecord) -> bool:
    """Whether the worker had started and was killed before it could report its end.

    A traceback is then not its own, but that of an image-reading process that lost its parent.
    """
    try:
        return run.reserve().stat().st_mtime >= (attempt.t or 0.0)
    except OSError:
        return False


# torchrun's report on each failed process: the time at which it noticed, and how the process ended.
_FAILURE = re.compile(
    r"^ *time *: (?P<time>\S+)\n *host *:.*\n *rank *: (?P<rank>\d+) \(local_rank.*\n *exitcode *: -(?P<signal>\d+)\b",
    re.MULTILINE,
)


def _killed(log: str) -> str:
    """Which processes a signal has ended, and which signal, from the launchers' logs; empty if none were.

    The "root cause" in torchrun's report is the lowest rank of those that it found in the same second. That rank may
    have given up, or been ended by torchrun itself, because another one was gone.
    """
    found = [match.groupdict() for match in _FAILURE.finditer(log)]
    if not found:
        signals = re.findall(r"exitcode\s*:\s*-(\d+)", log)
        return f"ended by signal {_named(signals[-1])}" if signals else ""
    first = min(found, key=_order)
    ranks = sorted({int(one["rank"]) for one in found if _order(one) == _order(first)})
    who = f"process {ranks[0]} was" if len(ranks) == 1 else f"processes {', '.join(map(str, ranks))} were"
    return f"{who} ended by signal {_named(first['signal'])}"


def _order(failure: dict[str, str]) -> tuple[bool, str, bool]:
    """Sort the root cause first: torchrun's own SIGTERM is never one, and an abort follows from a killed process."""
    return failure["signal"] == "15", failure["time"], failure["signal"] != "9"


def _named(number: str) -> str:
    return f"{number} (SIGKILL: probably out of memory)" if number == "9" else number


def _log(run: RunDirectory, attempt: AttemptRecord) -> str:
    """The end of what the launchers of all nodes printed in this attempt, or of a single worker's stderr."""
    if attempt.world_size == 1:
        return tail(run.stderr(), attempt.stderr_from)
    logs = sorted(run.ranks.glob(f"launcher-{attempt.attempt}-node*.log"))
    return "\n".join(tail(path) for path in logs)


def tail(path: Path, start: int = 0, size: int = 64 * 1024) -> str:
    """The end of a log, as far as it is behind `start`; "" if it cannot be read."""
    try:
        with open_untrusted(path) as file:
            file.seek(max(start, file.seek(0, 2) - size))
            return visible(file.read().decode(errors="replace"))
    except OSError:
        return ""
