"""What a dispatcher does with devices: a run has all of its own or none, and nobody else has one of them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.devices import Device, Pool
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import Entry, entries, entry_of, holders, new_entry, write_entry
from rbp_engine.run.queue.observe import device_uses, queued_runs

MakeRun = Callable[..., RunDirectory]
POOL = Pool((Device("cpu-0"), Device("cpu-1")), 1)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text("cpu_slots = 2\nshare_devices = false\n")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs for which a starter was started; each ends at once."""
    found: list[str] = []

    def helper(entry: Entry, module: str, *words: str, held: Any = ()) -> "subprocess.Popen[bytes]":
        found.append(entry.run.id)
        return subprocess.Popen(["true"])

    monkeypatch.setattr(dispatcher, "_helper", helper)
    return found


@pytest.fixture
def queue(make_run: MakeRun) -> Callable[..., RunDirectory]:
    def put(name: str, takes: int = 1, **changes: Any) -> RunDirectory:
        run = make_run(name, status="queued")
        write_entry(replace(new_entry(run, after=1, retries=0, pool=POOL, takes=takes), **changes))
        return run

    return put


def claimed() -> dict[str, str]:
    return {key: entry.run.id for key, entry in holders(entries()).items()}


def test_devices_are_a_run_s_until_it_has_ended(queue: Callable[..., RunDirectory], started: list[str]) -> None:
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


def test_a_run_keeps_the_devices_that_a_dead_dispatcher_gave_it(
    queue: Callable[..., RunDirectory], started: list[str]
) -> None:
    queue("behind")
    queue("first", takes=2, claimed=("cpu-0", "cpu-1"), place=0)
    Dispatcher().look()
    assert started == ["first"] and claimed() == {"cpu-0": "first", "cpu-1": "first"}


def test_a_device_that_another_run_got_meanwhile_is_not_given(
    queue: Callable[..., RunDirectory], started: list[str], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another dispatcher were at work, which the lease prevents."""
    queue("late")
    decided = dispatcher.JobSchedule.decide

    def interrupted(self: Any, job: Any) -> Any:
        action = decided(self, job)
        write_entry(replace(new_entry(make_run("quick"), after=0, retries=0, pool=POOL, takes=1), claimed=("cpu-0",)))
        return action

    monkeypatch.setattr(dispatcher.JobSchedule, "decide", interrupted)
    Dispatcher().look()
    assert started == [] and claimed() == {"cpu-0": "quick"}


def test_while_a_run_lives_whose_entry_is_damaged_nobody_knows_which_device_is_free(
    queue: Callable[..., RunDirectory], started: list[str], sleeper: Callable[[RunDirectory], Any]
) -> None:
    lost = queue("lost", claimed=("cpu-1",))
    queue("waits")
    entry = entry_of(lost)
    assert entry is not None
    write_status(lost, "running")
    entry.path.write_text("{")
    process = sleeper(lost)
    one = Dispatcher()
    one.look()
    assert started == []
    (waits,) = queued_runs()
    assert waits.held == dict.fromkeys(["cpu 0", "cpu 1"], "perhaps lost, whose entry in the queue is damaged")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    one.look()
    assert started == ["waits"]
