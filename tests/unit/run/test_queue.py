"""The queue: a run has all of its devices or none, nobody overtakes, and a long queue costs little."""

import itertools
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine import os_process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked, newest_attempt, read_attempts
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue import arrange, dispatcher
from rbp_engine.run.queue.devices import Card, Device
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import Entry, entries, entry_of, holders, new_entry, write_entry
from rbp_engine.run.queue.hooks import MODULE as HOOKS
from rbp_engine.run.queue.observe import device_uses, queued_runs
from rbp_engine.run.queue.schedule import JobSchedule, QueuedJob, World
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_tui.text.run_text import where_queued
from tests.run_files import change_summary, write_attempt

SLOTS = (Device("cpu-0"), Device("cpu-1"))


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """What the user has set for this machine: two runs on its CPU, and no devices of others."""
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("cpu_slots = 2\nshare_devices = false\n")
    return tmp_path / "machine.toml"


@pytest.fixture
def started(monkeypatch):
    """The ids of the runs for which a starter was started; each ends at once."""
    found: list[str] = []

    def helper(entry: Entry, module: str, *words: str, held: Any = ()) -> "subprocess.Popen[bytes]":
        found.extend([entry.run.id] if module != HOOKS else [])
        return subprocess.Popen(["true"])

    monkeypatch.setattr(dispatcher, "_helper", helper)
    return found


@pytest.fixture
def queue(make_run):
    """Queue a run of this name, which takes so many devices; keywords change its entry."""

    def put(name: str, takes: int = 1, **changes: Any) -> RunDirectory:
        run = make_run(name, status="queued")
        asked = Asked(resources=Resources(takes), dispatch=Dispatch("none"))
        write_entry(replace(new_entry(run, asked, after=1), **changes))
        return run

    return put


def claimed() -> dict[str, str]:
    return {key: entry.run.id for key, entry in holders(entries()).items()}


def test_devices_are_a_run_s_until_it_has_ended(queue, started):
    first, _, _ = queue("first", takes=2), queue("second"), queue("third")
    one = Dispatcher()
    one.look()
    assert started == ["first"] and claimed() == {"cpu-0": "first", "cpu-1": "first"}
    held = {"cpu 0": "first", "cpu 1": "first"}
    assert [(run.behind, run.held) for run in queued_runs()] == [([], held), ([], held), (["second"], held)]
    assert [use.run for use in device_uses()] == ["first", "first"]
    write_status(first, "failed", "an error")
    one.look()
    assert entry_of(first) is None and claimed() == {}
    one.look()
    assert started == ["first", "second", "third"] and claimed() == {"cpu-0": "second", "cpu-1": "third"}


def test_a_waiting_run_may_have_what_its_machine_has_now(queue, started, machine):
    for name in ("first", "second", "third"):
        queue(name, takes=2)
    one = Dispatcher()
    one.look()
    machine.write_text("cpu_slots = 5\nshare_devices = false\n")
    assert [use.run for use in device_uses()] == ["first", "first", "", "", ""]
    one.look()
    assert started == ["first", "second"]
    machine.write_text("cpu_slots = 1\nshare_devices = false\n")
    assert [use.run for use in device_uses()] == ["first", "first", "second", "second"]
    assert [where_queued(run) for run in queued_runs()][2] == (
        "a run of 2 processes takes as many devices, and there is only: cpu 0"
    )
    machine.write_text("cpu_slots = many\n")
    one.look()
    assert started == ["first", "second"] and "machine.toml: 1 problem " in queued_runs()[2].trouble


def test_a_run_gets_the_cards_that_its_own_shell_sees_and_not_those_of_the_dispatcher(queue, started, monkeypatch):
    monkeypatch.setattr(dispatcher, "read_cards", lambda: [Card(index, f"GPU-{index}") for index in range(3)])
    for name, visible in (("first", "2"), ("second", "1"), ("third", "2")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        queue(name, dispatch=Dispatch("auto"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    Dispatcher().look()
    assert started == ["first", "second"] and claimed() == {"GPU-2": "first", "GPU-1": "second"}


def test_a_run_keeps_the_devices_that_a_dead_dispatcher_gave_it(queue, started):
    queue("behind")
    queue("first", takes=2, claimed=SLOTS, place=0)
    Dispatcher().look()
    assert started == ["first"] and claimed() == {"cpu-0": "first", "cpu-1": "first"}


def test_a_queued_run_that_cannot_be_started_has_its_hooks(queue, machine):
    machine.write_text("cpu_slots = 2\n[hooks]\non_failure = 'echo $RBP_CAUSE'\n")
    run = queue("gone", python="/no/such/python")
    (run.control / "hook-1").touch()  # of the attempt before
    looking = Dispatcher()
    looking.look()
    looking.look()
    assert entries() == []
    for child in looking._children:
        child.wait()
    (log,) = run.control.glob("hook-1-*")
    assert log.read_text() == "on_failure: echo $RBP_CAUSE\nerror\n"


def test_a_device_that_another_run_got_meanwhile_is_not_given(queue, started, make_run, monkeypatch):
    """As if another dispatcher were at work, which the lease prevents."""
    queue("late")
    decided = dispatcher.JobSchedule.decide

    def interrupted(self: Any, job: Any) -> Any:
        action = decided(self, job)
        write_entry(replace(new_entry(make_run("quick"), Asked(dispatch=Dispatch("none"))), claimed=SLOTS[:1]))
        return action

    monkeypatch.setattr(dispatcher.JobSchedule, "decide", interrupted)
    Dispatcher().look()
    assert started == [] and claimed() == {"cpu-0": "quick"}


def test_while_a_run_lives_whose_entry_is_damaged_nobody_knows_which_device_is_free(queue, started, sleeper):
    lost = queue("lost", claimed=SLOTS[1:])
    queue("waits")
    entry = entry_of(lost)
    write_status(lost, "running")
    entry.path.write_text("{")
    process = sleeper(lost)
    one = Dispatcher()
    one.look()
    assert started == []
    (waits,) = queued_runs()
    assert waits.held == dict.fromkeys(["cpu 0", "cpu 1"], "perhaps lost (its entry in the queue is damaged)")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    one.look()
    assert started == ["waits"]


def order() -> str:
    return "".join(entry.run.id for entry in entries())


def test_runs_are_moved_to_the_front_the_end_and_by_one(queue):
    a, b, c, d = map(queue, "abcd")
    arrange.move([c, d], first=True)
    assert order() == "cdab"
    arrange.move([c], first=False)
    assert order() == "dabc"
    arrange.move([d, a, b, c], first=False)
    assert order() == "dabc"
    queue("e")
    assert order() == "dabce"
    arrange.move_by_one([b], later=True)
    assert order() == "dacbe"
    for places in ("dcabe", "cdabe", "cdabe"):
        arrange.move_by_one([c], later=False)
        assert order() == places
    arrange.move([a], first=True)
    arrange.move([b, d], first=True)
    assert order() == "bdace"
    for places, later in (("bdeac", True), ("bdeac", True), ("bdace", False), ("bacde", False), ("acbde", False)):
        arrange.move_by_one([c, a], later=later)
        assert order() == places
    for entry in entries():  # as an interruption between the two of an exchange leaves them
        write_entry(replace(entry, place=7))
    assert order() == "abcde"
    arrange.move_by_one([d], later=False)
    assert order() == "abdce"


def test_a_run_that_does_not_wait_is_not_moved_and_nothing_else_is(queue, make_run):
    _, b = map(queue, "ab")
    ended = make_run("ended", status="completed")
    for change in (lambda: arrange.move([b, ended], first=True), lambda: arrange.move_by_one([b, ended], later=True)):
        with pytest.raises(RunError, match="ended does not wait in the queue of this host, it is completed"):
            change()
    assert order() == "ab"


def test_a_pause_is_shown_and_ends(queue):
    for name in "abc":
        queue(name)
    assert arrange.set_paused(True) and not arrange.set_paused(True)
    assert [one.paused for one in queued_runs()] == [True] * 3
    assert arrange.set_paused(False) and not arrange.set_paused(False)
    assert [one.starts for one in queued_runs()] == [True, True, False]
    assert queued_runs()[2].held == {"cpu 0": "a", "cpu 1": "b"}
    assert {use.name for use in device_uses() if use.free} >= {"cpu 0", "cpu 1"}


JOBS = st.builds(
    lambda devices, takes, tried: QueuedJob(
        Entry("", RunDirectory(Path()), resources=Resources(takes), dispatch=Dispatch("none")), devices, tried=tried
    ),
    devices=st.lists(st.sampled_from("abc"), min_size=1, unique=True).map(tuple),
    takes=st.integers(1, 3),
    tried=st.sampled_from([None, 0.0, 99.0]),
)


@given(jobs=st.lists(JOBS, max_size=6), busy=st.frozensets(st.sampled_from("abc")), paused=st.booleans())
def test_no_job_gets_a_device_that_one_before_it_waits_for(jobs, busy, paused):
    jobs = [replace(job, entry=replace(job.entry, name=str(number))) for number, job in enumerate(jobs)]
    schedule = JobSchedule(World(1e9, 100.0, (), dict.fromkeys(busy, "bob"), paused))
    actions = [schedule.decide(job) for job in jobs]
    assert [action.job for action in actions] == jobs
    given_out: list[str] = []
    waited_for: set[str] = set()
    for action in actions:
        if action.starts:
            assert len(set(action.devices)) == action.job.entry.takes and not paused
            assert not waited_for & set(action.devices)
            given_out += action.devices
        else:
            assert not action.steps
            waited_for |= set(action.job.devices) if action.blocked else set()
    assert len(given_out) == len(set(given_out)) and not set(given_out) & busy


class Dies(BaseException):
    """A dispatcher is killed."""


#: What becomes of a run each time that it is started, with one retry, and its status in the end.
FATES = {
    "good": (["completed"], "completed"),
    "bad": (["failed"], "failed"),
    "again": (["lost", "completed"], "completed"),
    "lost": (["lost", "lost"], "lost"),
    "never": (["never began", "completed"], "completed"),
    "refused": (["could not begin"], "failed"),
    "claimed": (["completed"], "completed"),
    "withdrawn": ([], "stopped"),
}


@pytest.fixture
def play(queue, ended_pid, monkeypatch):
    """Let dispatchers, the first of which dies before a step, empty a queue of all FATES: what comes of each run.

    That is its status, how often it is started, how its attempts have ended, and its hooks; last, the number of steps.
    """
    monkeypatch.setattr(dispatcher, "RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(processes, "processes_by_run", dict)  # to look at all of this machine takes a while
    take = Dispatcher._take

    def begin(run: RunDirectory, fate: str) -> None:
        number = newest_attempt(run) + 1
        if fate == "never began":
            change_summary(run, status="starting", attempt=number, updated=0.0)
        elif fate == "could not begin":
            write_status(run, "failed", fate)
        else:
            write_attempt(run, number, process=asdict(os_process.of(ended_pid)))
            write_status(run, "running" if fate == "lost" else fate, attempt=number)

    def play_it(dies: int | None) -> Any:
        steps, began, hooks = itertools.count(), Counter[str](), set[tuple[str, str]]()

        def helper(entry: Entry, module: str, *words: str, held: Any = ()) -> Any:
            name = entry.run.id.partition("-")[2]
            if module == HOOKS:
                hooks.add((name, words[1]))
            else:
                begin(entry.run, FATES[name][0][began[name]])
                began[name] += 1
            return SimpleNamespace(poll=lambda: 0)

        def take_or_die(self: Dispatcher, *step: Any) -> None:
            if next(steps) == dies:
                raise Dies
            take(self, *step)

        monkeypatch.setattr(dispatcher, "_helper", helper)
        monkeypatch.setattr(Dispatcher, "_take", take_or_die)
        runs = {name: queue(f"{dies}-{name}", dispatch=Dispatch("none", 1)) for name in FATES}
        write_entry(replace(entry_of(runs["claimed"]), claimed=SLOTS[:1]))
        write_status(runs["withdrawn"], "stopped")
        arrange.set_paused(True)
        looking = Dispatcher()
        for _ in range(100):
            if not entries():
                break
            try:
                looking.look()
            except Dies:
                looking = Dispatcher()
            arrange.set_paused(False)
        ends = {name: [one.ended and one.ended.status for one in read_attempts(run)] for name, run in runs.items()}
        return {name: judge(run).status for name, run in runs.items()}, dict(began), ends, hooks, next(steps)

    return play_it


def test_whichever_step_a_dispatcher_dies_before_each_run_comes_to_the_same_end(play):
    statuses, began, ends, hooks, steps = play(None)
    assert began == {name: len(fates) for name, (fates, _) in FATES.items() if fates}
    assert statuses == {name: status for name, (_, status) in FATES.items()} and entries() == []
    assert (ends["again"], ends["lost"]) == ([None, "lost", None], [None, "lost", None])
    assert hooks == {(name, status) for name, status in statuses.items() if name != "withdrawn"}
    for dies in range(steps):
        assert play(dies)[:-1] == (statuses, began, ends, hooks) and entries() == [], dies


_opened: list[str] = []
_counting = [False]


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _counting[0]:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The files that this process opens meanwhile."""
    _opened.clear()
    _counting[0] = True
    yield _opened
    _counting[0] = False


@pytest.fixture
def long_queue(queue, machine):
    """Queue this many runs, of which the first has the only device."""
    machine.write_text("cpu_slots = 1\n")
    return lambda count: [
        queue(f"job-{number:03}", claimed=() if number else (Device("cpu-0"),)) for number in range(count)
    ]


@pytest.mark.usefixtures("started")
def test_a_pass_opens_the_files_of_few_of_the_jobs_that_wait(long_queue):
    runs = long_queue(60)
    write_status(runs[0], "running")
    one = dispatcher.Dispatcher()
    one.look()
    with opened() as files:
        one.look()
    assert not {run.id for name in files for run in runs[1:] if run.id in name}
    assert not any(name.endswith(".json") and "/queue/" in name for name in files)


def test_the_entry_of_a_run_is_found_without_reading_those_of_others(long_queue, tmp_path):
    runs = long_queue(30)
    link = tmp_path / "another-name"
    link.symlink_to(runs[7].path)
    for entry in entries():  # as in another process, which has not read them
        os.utime(entry.path, ns=(0, 0))
    with opened() as files:
        found = entry_of(RunDirectory(link))
    assert found.run == runs[7]
    assert [Path(name).name for name in files if "/queue/" in name and name.endswith(".json")] == [found.name]
