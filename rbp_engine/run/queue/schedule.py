"""What the dispatcher does next: from a picture of the world to actions, and from an action to its steps.

Nothing here reads or writes anything. A dispatcher may be killed between any two steps, so each action can be begun
again: what the next dispatcher sees then leads to the same end, as `tests/races/test_simulated_schedules.py` simulates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

# A fault of the machine gets a moment to pass.
RETRY_AFTER_S = 5.0
# A run whose starter failed (a full disk, say) gets another one after this time.
START_AGAIN_S = 30.0
# A missing runs directory may be on a disk that is mounted again.
GONE_FOR_GOOD_S = 60.0


@dataclass(frozen=True)
class QueuedJob:
    """An entry of the queue and its run, as seen at one moment.

    `run` is the run's folder. The run `takes` this many of `devices` and has `claimed` some of them, all by their keys.
    `not_before` is in seconds since the epoch. `retried` of `retries` are used up, `attempt` is the newest attempt, and
    the entry asks for one `after` an older one.

    Of the run: `status`, whether it is `live`, whether `processes` of it are left, and of one that has ended whether
    that was a `fault` of the machine, which may be gone at the next start, or it `failed` in any way. `readable`: its
    summary and its attempts can be read; `removed`: its folder is gone, and the runs directory is not.

    Of the dispatcher: whether a `starter` of it is alive, when it last `tried` to start the run, and since when the run
    has been `missing`, both on the monotonic clock; None for never.
    """

    name: str
    run: str
    devices: tuple[str, ...] = ()
    takes: int = 0
    claimed: tuple[str, ...] = ()
    not_before: float = 0.0
    retried: int = 0
    retries: int = 0
    attempt: int = 0
    after: int = 0
    status: str = "queued"
    live: bool = True
    processes: bool = False
    fault: bool = False
    failed: bool = False
    readable: bool = True
    removed: bool = False
    starter: bool = False
    tried: float | None = None
    missing: float | None = None

    @property
    def started(self) -> bool:
        """Whether the requested attempt has begun."""
        return self.attempt > self.after


@dataclass(frozen=True)
class World:
    """Everything that decides: the jobs, the first to start first, and the devices.

    `claims` has the run's folder for each device that belongs to one of this user's runs; `busy` says who else uses a
    device. `paused`: nothing is started. `now` is in seconds since the epoch, `clock` on the monotonic clock.
    """

    now: float
    clock: float
    jobs: tuple[QueuedJob, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    busy: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False


@dataclass(frozen=True)
class Wait:
    """Do nothing: it runs, is starting, starts again in a moment, waits for the end of a pause, or cannot be read."""

    job: QueuedJob


@dataclass(frozen=True)
class WaitForDevices:
    """Do nothing: others have its devices. `behind` are the jobs that wait for the same ones before this one."""

    job: QueuedJob
    behind: tuple[QueuedJob, ...] = ()


@dataclass(frozen=True)
class Start:
    """Claim these devices for a waiting run, and start it."""

    job: QueuedJob
    devices: tuple[str, ...]


@dataclass(frozen=True)
class GiveBack:
    """Release the devices of a waiting run that cannot start now: the queue is paused, or it has only some."""

    job: QueuedJob


@dataclass(frozen=True)
class Requeue:
    """Mark a run as waiting: the process that was to start it has died, or the one that was to mark it."""

    job: QueuedJob


@dataclass(frozen=True)
class Restart:
    """Have a run wait for its next attempt after a fault of the machine; it keeps its devices."""

    job: QueuedJob


@dataclass(frozen=True)
class Finish:
    """Run the hooks of a run that has ended, release its devices, and forget it."""

    job: QueuedJob


@dataclass(frozen=True)
class Forget:
    """Release the devices of a run that is not started, and take it out of the queue."""

    job: QueuedJob
    why: str


Action = Wait | WaitForDevices | Start | GiveBack | Requeue | Restart | Finish | Forget


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


_STEPS: dict[type, tuple[Step, ...]] = {
    Wait: (),
    WaitForDevices: (),
    Start: (Step.CLAIM, Step.LAUNCH),
    GiveBack: (Step.RELEASE,),
    Requeue: (Step.MARK_QUEUED,),
    # From the second step on, the entry asks for a new attempt of a run that has ended by a fault: a Requeue.
    Restart: (Step.RECORD_FAULT, Step.COUNT_RETRY, Step.MARK_QUEUED),
    # The entry comes last: without it nobody would run the hooks. The devices are free with its end.
    Finish: (Step.RUN_HOOKS, Step.REMOVE_ENTRY),
    Forget: (Step.REMOVE_ENTRY,),
}


def steps(action: Action) -> tuple[Step, ...]:
    """The steps of an action, in order. They are taken under the lock of the host, if the job is still as it was."""
    return _STEPS[type(action)]


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
        if isinstance(action, Start):
            self._given.update(action.devices)
        elif isinstance(action, WaitForDevices) or (isinstance(action, GiveBack) and not world.paused):
            for key in job.devices:
                self._ahead.setdefault(key, job)
        return action

    def has_left(self, devices: Iterable[str]) -> bool:
        """Whether a job behind all those so far that has no device may get one of these."""
        world = self._world
        taken = (world.busy, world.claims, self._given, self._ahead)
        return not world.paused and any(not any(key in keys for keys in taken) for key in devices)


def decide(world: World) -> list[Action]:
    """What to do for each job, in their order."""
    schedule = JobSchedule(world)
    return [schedule.decide(job) for job in world.jobs]


def _queued(job: QueuedJob, world: World, given: set[str], ahead: Mapping[str, QueuedJob]) -> Action:
    if job.starter:
        return Wait(job)
    if world.paused:
        return GiveBack(job) if job.claimed else Wait(job)
    # A time that is further away was written before the clock was set back.
    soon = 0.0 < job.not_before - world.now <= RETRY_AFTER_S
    if soon or (job.tried is not None and world.clock - job.tried < START_AGAIN_S):
        return Wait(job)
    there = [key for key in job.devices if key not in world.busy]
    # Its own come first, also if a dispatcher died before it had claimed them all.
    mine = [key for key in there if key in job.claimed]
    free = [key for key in there if not (key in mine or key in world.claims or key in given or key in ahead)]
    got = [*mine, *free][: job.takes]
    if len(got) == job.takes:
        return Start(job, tuple(got))
    if job.claimed:  # one that is ahead may need what this one cannot use yet
        return GiveBack(job)
    first = {one.name: one for key in job.devices if (one := ahead.get(key)) is not None}
    return WaitForDevices(job, tuple(first.values()))


def _other(job: QueuedJob, world: World) -> Action:
    if not job.readable:
        gone = job.removed or (job.missing is not None and world.clock - job.missing > GONE_FOR_GOOD_S)
        why = "its folder is gone, or cannot be read"
        return Forget(job, why) if gone and not job.processes else Wait(job)
    if job.live or job.processes:
        return Wait(job)
    if job.started:
        return Restart(job) if job.fault and job.retried < job.retries else Finish(job)
    # It never began: its starter has died. Or a dispatcher has, within a Restart.
    if job.status == "lost" or (job.retried and job.fault):
        return Requeue(job)
    return Forget(job, f"is not started: {job.status}")
