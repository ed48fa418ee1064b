"""The picture of the world that the schedule decides on, read from the files of the queue and the runs.

The queue as users see it is made from the same: the place of each run and what it waits for, and who has which device.
"""

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import is_there, newest_begun
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.queue.devices import Card, Device, Pool, pool_here, pool_of_this_machine, read_cards
from rbp_engine.run.queue.entries import Entry, holders, read_queue
from rbp_engine.run.queue.holds import held_by_others
from rbp_engine.run.queue.host_lock import host_directory, usable
from rbp_engine.run.queue.schedule import JobSchedule, QueuedJob, World
from rbp_engine.run.status import processes
from rbp_engine.run.status.post_mortem import tail
from rbp_engine.run.status.status import Verdict, judge

DISPATCHER_LOG = "dispatcher.log"
#: How its log calls the dispatcher, where other lines have the id of a run, and what it says when all is well.
ITSELF, WORKS = "the dispatcher", "is at work"
ABOUT_ITSELF = re.compile(rf"^\S+ \S+ {ITSELF}: (.+)$", re.MULTILINE)


@dataclass
class DispatcherMemory:
    """What a dispatcher knows of its jobs, by the names of their entries, and another one need not know.

    `tried`: when it last tried to start the run; `missing`: since when the run cannot be read. Both on the monotonic
    clock.
    """

    tried: dict[str, float] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)


def pause_file() -> Path:
    """Its presence says that nothing in the queue of this host is started."""
    return host_directory(make=False) / "paused"


def is_paused() -> bool:
    """Whether the whole queue is paused. Raises RunError."""
    with usable(pause_file()):
        return is_there(pause_file())


def dispatcher_trouble() -> str:
    """What keeps the dispatcher of this host from its work, or has ended it; "" if its log knows of nothing."""
    said = ABOUT_ITSELF.findall(tail(host_directory(make=False) / DISPATCHER_LOG)) or [WORKS]
    return "" if said[-1] == WORKS else f"{ITSELF} {said[-1]}"


class QueueLook:
    """The queue and what there is on this host beside it, at one moment: each thing once, when somebody asks first.

    `entries` are the valid ones, the first to start first, and `damaged` the others.
    """

    def __init__(self, cards: Callable[[], Sequence[Card]] = read_cards) -> None:
        self.entries, self.damaged = read_queue()
        self._cards = functools.cache(cards)
        self._pool = functools.cache(self._find_pool)

    @functools.cached_property
    def world(self) -> World:
        """What decides beside the jobs."""
        return World(time.time(), time.monotonic(), holders(self.entries), self.others_on(self.devices), is_paused())

    @functools.cached_property
    def devices(self) -> list[Device]:
        """Those that runs of the queue have or may get."""
        return [device for entry in self.entries for device in (*entry.claimed, *self.pool(entry).devices)]

    @functools.cached_property
    def runs(self) -> frozenset[Path]:
        """The folders of the runs that have processes."""
        return frozenset(one.path for one in processes.processes_by_run())

    def pool(self, entry: Entry) -> Pool:
        """The devices that a run may get; an empty pool if it waits for none."""
        return self._pool(entry.dispatch.gpus, entry.device, entry.takes, entry.environment.get("CUDA_VISIBLE_DEVICES"))

    def _find_pool(self, gpus: str | None, device: str, takes: int, visible: str | None) -> Pool:
        try:
            return pool_here(gpus, device, takes, visible, self._cards) if takes else Pool()
        except UserError as error:
            return Pool(trouble=one_line(str(error)))

    def others_on(self, devices: Iterable[Device]) -> dict[str, str]:
        """Who else uses each of the devices, by key and in words: somebody who computes on a card, and other users.

        A run that is there may have any of them if its entry, which says what it has claimed, is damaged.
        """
        keys = {device.key: device.name for device in devices}
        if lost := [one.id for one in self.damaged if one.id in {path.name for path in self.runs}]:
            return dict.fromkeys(keys, f"perhaps {lost[0]} (its entry in the queue is damaged)")
        cards: Sequence[Card] = ()
        if any(name is not None for name in keys.values()):
            with contextlib.suppress(RunError):  # none of them is in a pool then
                cards = self._cards()
        busy = {card.uuid: "somebody else" for card in cards if card.uuid in keys and not card.is_free}
        return busy | held_by_others(keys)


def job_of(entry: Entry, memory: DispatcherMemory, around: QueueLook) -> QueuedJob:
    """An entry and its run as they are now; what is `around` is the same for all jobs that are looked at together."""
    run = entry.run
    verdict = judge(run)
    try:
        attempt = newest_begun(run)
    except RunError:
        attempt = None
    # Without its attempts nobody knows whether a run has begun. The starter of one that waits says so.
    readable = read_summary(run) is not None and (attempt is not None or verdict.status == "queued")
    if readable:
        memory.missing.pop(entry.name, None)
    else:
        memory.missing.setdefault(entry.name, time.monotonic())
    ended = not verdict.live
    return QueuedJob(
        entry,
        devices=tuple(device.key for device in around.pool(entry).devices),
        attempt=attempt or 0,
        status=verdict.status,
        live=verdict.live,
        processes=(ended or not readable) and run.path.resolve() in around.runs,
        fault=ended and is_infrastructure_fault(run, verdict),
        failed=ended and has_failed(run, verdict),
        readable=readable,
        removed=not readable and run.path.parent.is_dir() and not run.path.exists(),
        tried=memory.tried.get(entry.name),
        missing=memory.missing.get(entry.name),
    )


def is_infrastructure_fault(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run that has ended with this verdict may be restarted without a user's decision.

    A fault of the machine or the network may be gone at the next start: a process that was killed from outside, or gone
    without a report, or a broken connection between processes. What the model or the data raise, a loss that is not
    finite, a full disk, or an end that a user asked for is never one.
    """
    return verdict.cause.is_transient and not was_requested(run)


def has_failed(run: RunDirectory, verdict: Verdict) -> bool:
    """Whether a run ended in a way that is neither its normal end nor what a user asked for."""
    return verdict.status == "failed" or (verdict.status in ("lost", "killed") and not was_requested(run))


def was_requested(run: RunDirectory) -> bool:
    """Whether a user asked this attempt to stop, or killed it; `launch.start` removes the requests of earlier ones."""
    return run.stop_request.exists() or run.kill_request.exists()


@dataclass(frozen=True)
class QueuedRun:
    """A run in the queue of this host.

    `position` numbers waiting runs from 1, and is 0 for a run that has started. `devices` are those that it has
    claimed. It `takes` this many. `behind` names the runs ahead of a waiting one that wait for the same devices, `held`
    the holder of each taken device of its pool; `trouble` says why it has no pool, or that nobody starts it.
    `paused`: the whole queue is. `starts`: it has what it needs. `restarted`: that is after a fault.
    """

    run: RunDirectory
    verdict: Verdict
    position: int
    devices: list[str]
    takes: int = 0
    behind: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    starts: bool = False
    restarted: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class DeviceUse:
    """A device and who has it: the id of this user's `run`, or `others` in words; both are empty if it is free."""

    key: str
    name: str
    run: str = ""
    others: str = ""

    @property
    def free(self) -> bool:
        return not (self.run or self.others)


def queued_runs() -> list[QueuedRun]:
    """Every run that is monitored or waits on this host, as the dispatcher would decide now: the waiting ones last, the
    first to start first."""
    memory, around, trouble = DispatcherMemory(), QueueLook(), dispatcher_trouble()
    schedule = JobSchedule(around.world)
    actions = [schedule.decide(job_of(entry, memory, around)) for entry in around.entries]
    given = {key: one.job.entry.run.id for one in actions for key in one.devices}
    taken = {**around.world.busy, **given, **_ids_of_holders(around.entries)}
    found: list[QueuedRun] = []
    position = 0
    for action in actions:
        entry = action.job.entry
        verdict = judge(entry.run)
        waits = verdict.status == "queued"
        position += waits
        held = {str(one): taken[one.key] for one in around.pool(entry).devices if one.key in taken}
        starts = waits and (action.starts or 0 < entry.takes == len(entry.claimed))
        found.append(
            QueuedRun(
                entry.run,
                verdict,
                position if waits else 0,
                [str(device) for device in entry.claimed],
                entry.takes,
                [job.entry.run.id for job in action.ahead] if waits else [],
                held if waits else {},
                waits and around.world.paused,
                starts,
                entry.retried > 0,
                trouble if starts else around.pool(entry).trouble if waits else "",
            )
        )
    return sorted(found, key=lambda queued: queued.position)


def device_uses() -> list[DeviceUse]:
    """The devices of this machine, those that runs of the queue may get, and who has them.

    Cards are left out if the driver does not answer.
    """
    try:
        here = pool_of_this_machine("auto", "auto").devices
    except RunError:
        here = ()
    around = QueueLook()
    devices = dict.fromkeys([*here, *around.devices])
    claimed = _ids_of_holders(around.entries)
    busy = around.others_on(devices)
    return [
        DeviceUse(one.key, str(one), claimed.get(one.key, ""), "" if one.key in claimed else busy.get(one.key, ""))
        for one in devices
    ]


def _ids_of_holders(known: Iterable[Entry]) -> dict[str, str]:
    return {key: entry.run.id for key, entry in holders(known).items()}
