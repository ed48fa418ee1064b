"""A host in memory: its files, its locks, its clocks, and the processes around the queue, which may die at any point.

The dispatcher's decisions and the order of its steps are the real ones (`run/queue/schedule.py`). What a step does to
the files, and what the other processes do, is written here once more, in terms of whole files: each `yield` is a point
where the process may be killed, or another may go on. A seed decides who goes on, who dies, and what a user does.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rbp_engine.run.queue.schedule import RETRY_AFTER_S, Action, QueuedJob, Step, World, decide

LOST_AFTER_S = 30.0
POLL_S = 0.5


class Broken(AssertionError):
    """A promise of the queue does not hold."""


@dataclass(frozen=True)
class Planted:
    """Faults that the simulation must find: locks that do not lock, devices that several can claim, other decisions."""

    no_dispatcher_lock: bool = False
    no_host_lock: bool = False
    shared_attempts: bool = False
    shared_devices: bool = False
    steps_of: Callable[[Action], tuple[Step, ...]] = lambda action: action.steps
    decided: Callable[[World], list[Action]] = decide


@dataclass
class Run:
    """The files of a run, and what really happened to it."""

    status: str = "starting"
    attempt: int = 0  # that of the summary
    updated: float = 0.0
    recorded: dict[int, int] = field(default_factory=dict)  # attempt to pid, as in run.json
    claimed: dict[int, int] = field(default_factory=dict)  # attempt to the pid of its starter
    faults: list[int] = field(default_factory=list)
    hooks: list[int] = field(default_factory=list)
    requested: bool = False
    ended: int = 0
    completed: int = 0
    queued: bool = False  # its submission came to its end
    resumed: int = 0
    retries: int = 0


@dataclass(frozen=True)
class SimulatedEntry:
    run: str
    name: str
    takes: int
    devices: tuple[str, ...]
    after: int = 0
    retries: int = 0
    retried: int = 0
    not_before: float = 0.0
    place: int = 0
    claimed: tuple[str, ...] = ()


class SimulatedHost:
    """One machine with some devices, and everything that happens on it."""

    def __init__(self, seed, planted):
        self.random = random.Random(seed)
        self.planted = planted
        self.log = []
        self.clock = 0.0
        self.wall = 1.7e9
        self.devices = tuple(f"cpu-{number}" for number in range(self.random.randint(1, 3)))
        self.runs = {}
        self.entries = {}
        self.paused = False
        self.lock = None
        self.dispatcher_lock = None
        self.dispatchers = set()
        self.processes = {}
        self.workers = {}
        self.asleep = {}
        self.users = []
        # Quiet schedules go deep, deadly ones meet the moments between two steps.
        self.deadly = self.random.choice([0.0, 0.01, 0.05, 0.15])
        self.eager = self.random.choice([0.1, 0.5, 1.0])  # how often a dispatcher is started beside another
        self.deadly_to_workers = self.random.choice([0.0, 0.1, 0.5])
        self.pids = 0

    # What happens

    def spawn(self, process):
        self.pids += 1
        self.processes[self.pids] = process(self.pids)
        return self.pids

    def kill(self, pid):
        """The end of a process, however it ends: the kernel releases its locks."""
        self.processes.pop(pid, None)
        self.workers.pop(pid, None)
        self.asleep.pop(pid, None)
        self.dispatchers.discard(pid)
        self.lock = None if self.lock == pid else self.lock
        self.dispatcher_lock = None if self.dispatcher_lock == pid else self.dispatcher_lock

    def step(self):
        """One process goes on by one point, or dies there; time passes."""
        awake = [pid for pid in self.processes if self.asleep.get(pid, 0.0) <= self.clock]
        passed = self.random.uniform(0.0, 0.05)
        if not awake:
            passed = min(self.asleep.values(), default=self.clock + 1.0) - self.clock
        self.clock += passed
        self.wall += passed
        if not awake:
            return
        pid = self.random.choice(awake)
        if self.random.random() < (self.deadly_to_workers if pid in self.workers else self.deadly):
            self.log.append(f"{pid} is killed")
            self.kill(pid)
            return
        try:
            next(self.processes[pid])
        except StopIteration:
            self.kill(pid)
        self.check()

    def check(self):
        """What must hold at every moment."""
        working = [run for run, _ in self.workers.values()]
        if len(working) > len(set(working)):
            raise Broken("a run has two workers")
        in_use = [key for _, keys in self.workers.values() for key in keys]
        if len(in_use) > len(set(in_use)):
            raise Broken("two runs have one device")
        for name, run in self.runs.items():
            if run.completed > 1:
                raise Broken(f"{name} has been trained twice")
            if len(run.faults) > len(set(run.faults)):
                raise Broken(f"a fault of {name} is listed twice")
            if len(run.faults) > run.retries * (1 + run.resumed):
                raise Broken(f"{name} has been restarted more often than it may")

    def unfinished(self):
        """What is left undone where everything should be done."""
        found = [f"{name} is in the queue" for name in self.entries]
        for name, run in self.runs.items():
            if run.queued and run.status not in ("completed", "failed", "stopped") and self.judge(run) != "lost":
                found.append(f"{name} is {self.judge(run)}")
            if run.queued and run.recorded and run.status != "stopped" and max(run.recorded) not in run.hooks:
                found.append(f"the hooks of {name} have not run")
            if run.queued and self.judge(run) == "lost" and not run.recorded:
                found.append(f"{name} was never started")
        return found

    def entries_of(self):
        return {entry.run for entry in self.entries.values()}

    # What the files mean, as in run/status

    def judge(self, run):
        if run.status in ("completed", "failed", "stopped", "queued"):
            return run.status
        if run.attempt in run.recorded:
            return "running" if run.recorded[run.attempt] in self.processes else "lost"
        silence = self.wall - run.updated
        return "lost" if abs(silence) > LOST_AFTER_S else "starting"

    def working(self, name):
        return any(run == name for run, _ in self.workers.values())

    def holders(self):
        return {key: entry for entry in self.entries.values() for key in entry.claimed}

    def write(self, run, status, attempt=None):
        run.status, run.updated = status, self.wall
        run.attempt = run.attempt if attempt is None else attempt

    # Processes

    def locked(self, pid):
        """Wait for the lock of the host."""
        while not self.planted.no_host_lock and self.lock is not None:
            yield
        self.lock = pid

    def unlock(self, pid):
        self.lock = None if self.lock == pid else self.lock

    def submit(self, pid, name, entry):
        """`rbp train`: create a run and queue it."""
        self.runs[name] = Run(updated=self.wall, retries=entry.retries)
        yield
        yield from self.locked(pid)
        self.entries[entry.name] = replace(entry, place=int(self.wall * 1e9))
        yield
        self.write(self.runs[name], "queued")
        self.runs[name].queued = True
        self.unlock(pid)
        yield
        self.ensure()

    def ensure(self):
        """`ensure_dispatcher`: nobody knows whether the one that was just started has the lock yet."""
        if self.entries and not (self.dispatchers and self.random.random() > self.eager):
            self.spawn(self.dispatch)

    def job(self, entry, tried):
        run = self.runs[entry.run]
        status = self.judge(run)
        live = status in ("queued", "starting", "running")
        lost = status == "lost"
        return QueuedJob(
            name=entry.name, run=entry.run, devices=entry.devices, takes=entry.takes,
            claimed=entry.claimed, not_before=entry.not_before, retried=entry.retried,
            retries=entry.retries, attempt=max(run.recorded, default=0), after=entry.after, status=status, live=live,
            processes=not live and self.working(entry.run), fault=lost and not run.requested,
            failed=status == "failed" or (lost and not run.requested),
            tried=tried.get(entry.name),
        )  # fmt: skip

    def dispatch(self, pid):
        """The dispatcher, as in run/queue/dispatcher.py."""
        yield
        if not self.planted.no_dispatcher_lock:
            if self.dispatcher_lock is not None:
                return
            self.dispatcher_lock = pid
        self.dispatchers.add(pid)
        tried = {}
        while True:
            jobs = []
            order = sorted(self.entries.values(), key=lambda entry: (entry.place, entry.name))
            for entry in order:
                jobs.append(self.job(entry, tried))
                yield
            held = {key: entry.run for key, entry in self.holders().items()}
            yield
            for action in self.planted.decided(World(self.wall, self.clock, tuple(jobs), held, {}, self.paused)):
                yield from self.act(pid, action, tried)
            yield from self.locked(pid)
            if not self.entries:
                return
            self.unlock(pid)
            self.asleep[pid] = self.clock + POLL_S
            yield

    def act(self, pid, action, tried):
        taken = self.planted.steps_of(action)
        if not taken:
            return
        yield from self.locked(pid)
        entry = self.entries.get(action.job.name)
        if entry is not None and self.job(entry, tried) == action.job:
            self.log.append(f"{pid}: {entry.run} {action.does}")
            if action.starts and not self.planted.shared_devices:
                holders = self.holders()
                if any(holders.get(key, entry).name != entry.name for key in action.devices):
                    taken = ()
            for step in taken:
                yield
                if step is Step.CLAIM:
                    self.entries[entry.name] = replace(entry, claimed=action.devices)
                else:
                    self.take(step, entry, tried)
        self.unlock(pid)

    def take(self, step, entry, tried):
        run = self.runs[entry.run]
        newest = max(run.recorded, default=0)
        if step is Step.LAUNCH:
            tried[entry.name] = self.clock
            self.spawn(lambda pid: self.start(pid, entry.name))
        elif step is Step.RECORD_FAULT and newest not in run.faults:
            run.faults.append(newest)
        elif step is Step.COUNT_RETRY:
            self.entries[entry.name] = replace(
                entry, after=newest, retried=entry.retried + 1, not_before=self.wall + RETRY_AFTER_S
            )
        elif step is Step.MARK_QUEUED:
            self.write(run, "queued")
            tried.pop(entry.name, None)
        elif step is Step.RUN_HOOKS and newest not in run.hooks:
            run.hooks.append(newest)
        elif step is Step.RELEASE:
            self.entries[entry.name] = replace(entry, claimed=())
            tried.pop(entry.name, None)
        elif step is Step.REMOVE_ENTRY:
            self.entries.pop(entry.name, None)
            tried.pop(entry.name, None)

    def start(self, pid, name):
        """The starter, as in run/queue/start_queued.py and run/launch/launch.py."""
        yield
        yield from self.locked(pid)
        entry = self.entries.get(name)
        run = None if entry is None else self.runs[entry.run]
        mine = () if entry is None else entry.claimed
        fits = entry is not None and len(mine) >= entry.takes and not self.paused
        if entry is None or run is None or not fits or self.judge(run) != "queued":
            self.unlock(pid)
            return
        attempt = max(run.claimed, default=0) + 1
        newest = attempt - 1
        if newest and newest not in run.recorded and run.claimed[newest] in self.processes:
            self.unlock(pid)
            return
        yield
        if attempt in run.claimed and not self.planted.shared_attempts:
            self.unlock(pid)
            return
        run.claimed[attempt] = pid
        yield
        run.requested = False
        self.write(run, "starting", attempt)
        yield
        worker = self.spawn(lambda me: self.work(me, entry.run, attempt, mine))
        yield
        run.recorded[attempt] = worker
        self.unlock(pid)

    def work(self, pid, name, attempt, keys):
        """The worker: it trains, if its attempt is on record, which it sees to itself if its starter has died."""
        run = self.runs[name]
        self.workers[pid] = (name, keys)
        yield
        while attempt not in run.recorded:
            if run.claimed[attempt] not in self.processes:
                run.recorded[attempt] = pid
            yield
        self.write(run, "running")
        for _ in range(self.random.randint(1, 12)):
            self.asleep[pid] = self.clock + self.random.uniform(0.0, 3.0)
            yield
            if run.requested:
                self.write(run, "stopped")
                return
        run.ended += 1
        end = self.random.choice(["completed", "completed", "completed", "failed"])
        run.completed += end == "completed"
        self.write(run, end)
        yield

    def use(self, pid):
        """A user at the shell does one thing."""
        yield
        yield from self.locked(pid)
        verb = self.random.choice(["remove", "pause", "go", "first", "stop", "resume"])
        name = self.random.choice(sorted(self.entries) or [""])
        entry, run = self.entries.get(name), None
        self.log.append(f"{pid}: a user does {verb} {name}")
        if verb in ("pause", "go"):
            self.paused = verb == "pause"
        elif verb == "resume":
            yield from self.resume()
        elif entry is not None:
            run = self.runs[entry.run]
            if verb == "remove" and self.judge(run) == "queued":
                self.write(run, "stopped")
                yield
                self.entries.pop(name, None)
            elif verb == "stop" and self.judge(run) == "running":
                run.requested = True
            elif verb == "first":
                self.entries[name] = replace(entry, place=min(one.place for one in self.entries.values()) - 10**9)
        self.unlock(pid)
        self.ensure()

    def go_on(self, pid):
        """`rbp queue go`, for everything."""
        yield from self.locked(pid)
        self.paused = False
        self.unlock(pid)

    def resume(self):
        """`rbp resume` or `rbp resume` of a run that has ended and left the queue."""
        waiting = self.entries_of()
        ended = [name for name, run in self.runs.items() if self.judge(run) in ("failed", "stopped", "lost")]
        for name in ended:
            run = self.runs[name]
            if name in waiting or self.working(name):
                continue
            run.resumed += 1
            stamp = f"{len(self.log)}-{name}"
            made = SimulatedEntry(name, stamp, 1, self.devices, max(run.recorded, default=0), run.retries)
            self.entries[stamp] = replace(made, place=int(self.wall * 1e9))
            yield
            self.write(run, "queued")
            run.queued = True
            return


def simulate(seed, planted=None, most_steps=20_000):
    """One schedule: some runs are submitted, users act, and processes die; then nobody dies any more, and all is done.

    Raises Broken.
    """
    host = SimulatedHost(seed, planted or Planted())
    draw = host.random
    for number in range(draw.randint(2, 5)):
        entry = SimulatedEntry(
            f"run-{number}", f"{number}-run", draw.randint(1, len(host.devices)), host.devices,
            retries=draw.randint(0, 2),
        )  # fmt: skip
        host.spawn(lambda pid, entry=entry: host.submit(pid, entry.run, entry))
    busy = draw.choice([0.005, 0.03, 0.08])
    for _ in range(draw.randint(50, 400)):
        host.step()
        if draw.random() < busy:
            host.users.append(host.spawn(host.use))
        if draw.random() < busy:
            host.ensure()
        if draw.random() < 0.003:
            host.wall += draw.choice([-3600.0, 3600.0])
    host.deadly = host.deadly_to_workers = 0.0
    for pid in host.users:
        host.kill(pid)
    host.spawn(host.go_on)
    for _ in range(most_steps):
        if not host.entries and not host.processes:
            break
        if not host.processes:
            host.ensure()
        host.step()
    if left := host.unfinished():
        raise Broken("; ".join(left))
    return host
