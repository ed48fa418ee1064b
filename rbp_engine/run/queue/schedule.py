"""What the dispatcher does next: from a picture of the world to actions, each of them in steps.

Nothing here reads or writes anything. A dispatcher may be killed between any two steps, so each action can be begun
again: what the next dispatcher sees then leads to the same end, as `tests/unit/run/test_queue.py` tries for each step.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from rbp_engine.run.queue.entries import Entry, holders

# A fault of the machine gets a moment to pass.
RETRY_AFTER_S = 5.0
# A run whose starter failed (a full disk, say) gets another one after this time. Of two, the second finds it started.
START_AGAIN_S = 30.0
# A missing runs directory may be on a disk that is mounted again.
GONE_FOR_GOOD_S = 60.0


@dataclass(frozen=True)
class QueuedJob:
    """An entry of the queue and its run, as seen at one moment.

    The run may get `devices`, by their keys. `attempt` is the newest that has begun.

    Of the run: `status`, whether it is `live`, whether `processes` of it are left, and of one that has ended whether
    that was a `fault` of the machine, which may be gone at the next start, or it `failed` in any way. `readable`: its
    summary and its attempts can be read; `removed`: its folder is gone, and the runs directory is not.

    Of the dispatcher: when it last `tried` to start the run, and since when the run has been `missing`, both on the
    monotonic clock; None for never.
    """

    entry: Entry
    devices: tuple[str, ...] = ()
    attempt: int = 0
    status: str = "queued"
    live: bool = True
    processes: bool = False
    fault: bool = False
    failed: bool = False
    readable: bool = True
    removed: bool = False
    tried: float | None = None
    missing: float | None = None

    @property
    def started(self) -> bool:
        """Whether the requested attempt has begun."""
        return self.attempt > self.entry.after


@dataclass(frozen=True)
class World:
    """What decides beside the jobs: who has which device.

    `claims` are the devices that belong to this user's runs, by their keys; `busy` says who else uses one. `paused`:
    nothing is started. `now` is in seconds since the epoch, `clock` on the monotonic clock.
    """

    now: float
    clock: float
    claims: Collection[str] = ()
    busy: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False


class Step(Enum):
    """A part of an action that is done as a whole or not at all."""

    CLAIM = auto()
    LAUNCH = auto()
    RECORD_FAULT = auto()
    COUNT_RETRY = auto()
    MARK_QUEUED = auto()
    RUN_HOOKS = auto()
    RELEASE = auto()
    REMOVE_ENTRY = auto()


@dataclass(frozen=True)
class Action:
    """What is done for a job: these `steps`, in order, or nothing; `does` says it.

    They are taken under the lock of the host, if the job is still as it was. A run that starts gets `devices`.
    `blocked`: others have those that it could have, and no job behind it gets one of them; `ahead` are the jobs that
    wait for the same ones before it.
    """

    job: QueuedJob
    steps: tuple[Step, ...] = ()
    does: str = ""
    devices: tuple[str, ...] = ()
    blocked: bool = False
    ahead: tuple[QueuedJob, ...] = ()

    @property
    def starts(self) -> bool:
        return Step.LAUNCH in self.steps


class JobSchedule:
    """Decides what to do for one job after the other, the first to start first.

    No job overtakes another: while one waits, none behind it gets a device that it could have.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._given: set[str] = set()
        self._ahead: dict[str, QueuedJob] = {}

    def decide(self, job: QueuedJob) -> Action:
        """What to do for the next job."""
        world = self._world
        queued = job.readable and job.status == "queued"
        action = _queued(job, world, self._given, self._ahead) if queued else _other(job, world)
        self._given.update(action.devices)
        if action.blocked:
            for key in job.devices:
                self._ahead.setdefault(key, job)
        return action

    def has_left(self, devices: Iterable[str]) -> bool:
        """Whether a job behind all those so far that has no device may get one of these."""
        world = self._world
        taken = (world.busy, world.claims, self._given, self._ahead)
        return not world.paused and any(not any(key in keys for keys in taken) for key in devices)


def _queued(job: QueuedJob, world: World, given: set[str], ahead: Mapping[str, QueuedJob]) -> Action:
    gives_back, claimed = Action(job, (Step.RELEASE,), "gives its devices back"), holders([job.entry])
    if world.paused:
        return gives_back if claimed else Action(job)
    # A time that is further away was written before the clock was set back.
    soon = 0.0 < job.entry.not_before - world.now <= RETRY_AFTER_S
    if soon or (job.tried is not None and world.clock - job.tried < START_AGAIN_S):
        return Action(job)
    there = [key for key in job.devices if key not in world.busy]
    # Its own come first, also if a dispatcher died before it had claimed them all.
    mine = [key for key in there if key in claimed]
    free = [key for key in there if not (key in mine or key in world.claims or key in given or key in ahead)]
    got = [*mine, *free][: job.entry.takes]
    if len(got) == job.entry.takes:
        does = f"starts on {', '.join(got) or 'whatever it sees'}"
        return Action(job, (Step.CLAIM, Step.LAUNCH), does, devices=tuple(got))
    if claimed:  # one that is ahead may need what this one cannot use yet
        return replace(gives_back, blocked=True)
    first = {one.entry.name: one for key in job.devices if (one := ahead.get(key)) is not None}
    return Action(job, blocked=True, ahead=tuple(first.values()))


def _other(job: QueuedJob, world: World) -> Action:
    if not job.readable:
        gone = job.removed or (job.missing is not None and world.clock - job.missing > GONE_FOR_GOOD_S)
        return _forgotten(job, "its folder is gone, or cannot be read") if gone and not job.processes else Action(job)
    if job.live or job.processes:
        return Action(job)
    if job.started and job.fault and job.entry.retried < job.entry.dispatch.retries:
        # It keeps its devices. From the second step on, the entry asks for a new attempt, and the run has ended by a
        # fault: it "waits again", below.
        return Action(job, (Step.RECORD_FAULT, Step.COUNT_RETRY, Step.MARK_QUEUED), "starts again")
    if job.started:
        # The entry comes last: without it nobody would run the hooks. The devices are free with its end.
        return Action(job, (Step.RUN_HOOKS, Step.REMOVE_ENTRY), "has ended")
    # It never began: its starter has died. Or a dispatcher has, while it had it start again.
    if job.status == "lost" or (job.entry.retried and job.fault):
        return Action(job, (Step.MARK_QUEUED,), "waits again")
    if job.failed:
        return Action(job, (Step.RUN_HOOKS, Step.REMOVE_ENTRY), "could not be started")
    return _forgotten(job, f"is not started: {job.status}")


def _forgotten(job: QueuedJob, why: str) -> Action:
    """Its devices are free, and it is out of the queue."""
    return Action(job, (Step.REMOVE_ENTRY,), why)
