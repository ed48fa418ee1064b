"""Which run had which device from when to when, from the events of the runs."""

import math
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from rbp_engine.run.files.attempts import resources_of
from rbp_engine.run.files.events import CheckpointSaved, Heartbeat, RunEnd, RunStart
from rbp_engine.run.status.attempts import Attempt
from rbp_engine.run.status.history_reader import HistoryReader
from rbp_engine.run.store.store import RunRecord

# An attempt begins with one of these and shows signs of life by the others, every five seconds.
KINDS = (RunStart, RunEnd, Heartbeat, CheckpointSaved)
RUNS_KEPT = 500


@dataclass(frozen=True)
class Stay:
    """An attempt of a run on its devices, from `start` to `end` in seconds since the epoch.

    `devices` are `cpu`, or `gpu0` and so on, after the host's name if that is another one. `last` says that it is the
    newest attempt of its run, which has the run's status.
    """

    run_id: str
    attempt: int
    devices: tuple[str, ...]
    start: float
    end: float
    last: bool


@dataclass
class _Followed:
    reader: HistoryReader
    updated: float = float("nan")
    attempts: tuple[Attempt, ...] = ()


class StayReader:
    """Follows the events of the runs that were live lately; those of a run that has ended are read once."""

    def __init__(self) -> None:
        self._followed: dict[str, _Followed] = {}

    def read(self, records: Iterable[RunRecord], since: float, now: float, turn_s: float) -> tuple[list[Stay], bool]:
        """The stays that were not over at `since`, as far as they can be read in a turn, and whether there is more."""
        until = time.monotonic() + turn_s
        late = [record for record in records if record.readable and record.summary.updated >= since]
        late.sort(key=lambda record: -record.summary.updated)
        before, self._followed = self._followed, {}
        stays: list[Stay] = []
        more = False
        for record in late[:RUNS_KEPT]:
            followed = before.get(record.run.id)
            if followed is None:
                followed = _Followed(HistoryReader(record.run, first_rank=True, kinds=KINDS))
            self._followed[record.run.id] = followed
            if followed.updated != record.summary.updated and time.monotonic() < until:
                followed.reader.poll(until - time.monotonic())
                followed.attempts = followed.reader.history().attempts
                if not followed.reader.behind:
                    followed.updated = record.summary.updated
            more = more or followed.updated != record.summary.updated
            stays += _stays(record, followed.attempts, since, now)
        return stays, more


def _stays(record: RunRecord, attempts: tuple[Attempt, ...], since: float, now: float) -> list[Stay]:
    found = []
    for attempt in attempts:
        last = attempt is attempts[-1]
        works = last and record.verdict.live and record.verdict.status != "queued"
        end = now if works else min(attempt.last_seen, now)
        start = attempt.start.t
        if math.isfinite(start) and since <= end and start <= end:
            found.append(Stay(record.run.id, attempt.number, devices_of(record, attempt), start, end, last))
    return found


def devices_of(record: RunRecord, attempt: Attempt) -> tuple[str, ...]:
    """The devices of an attempt by the names that the System screen gives them.

    The events name the card of the first process, as that counts them. The queue writes down which cards a run may
    see; without it, they are taken to be all.
    """
    if match := re.search(r"\(cuda:(\d{1,4})\)$", attempt.device):
        seen = resources_of(record.run).devices
        local = range(int(match[1]), int(match[1]) + min(max(attempt.processes, 1), 64))
        names = [str(seen[number]) if number < len(seen) else str(number) for number in local]
        devices = tuple(f"gpu{name}" if name.isdigit() else name for name in names)
    else:
        devices = ("cpu",) if attempt.device in ("", "cpu") else (attempt.device,)
    away = attempt.host and attempt.host != socket.gethostname()
    return tuple(f"{attempt.host} {device}" for device in devices) if away else devices
