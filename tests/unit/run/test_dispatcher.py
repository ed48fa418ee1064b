"""What a dispatcher does with devices: a run has all of its own or none, and nobody else has one of them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import Entry, entries, entry_of, holders, new_entry, write_entry
from rbp_engine.run.queue.observe import device_uses, queued_runs
from rbp_tui.text.run_text import where_queued

MakeRun = Callable[..., RunDirectory]
SLOTS = (Device("cpu-0"), Device("cpu-1"))


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
        asked = Asked(resources=Resources(takes), dispatch=Dispatch("none"))
        write_entry(replace(new_entry(run, asked, after=1), **changes))
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


def test_a_waiting_run_may_have_what_its_machine_has_now(
    queue: Callable[..., RunDirectory], started: list[str], tmp_path: Path
) -> None:
    machine = tmp_path / "config" / "machine.toml"
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


def test_a_run_keeps_the_devices_that_a_dead_dispatcher_gave_it(
    queue: Callable[..., RunDirectory], started: list[str]
) -> None:
    queue("behind")
    queue("first", takes=2, claimed=SLOTS, place=0)
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
        write_entry(replace(new_entry(make_run("quick"), Asked(dispatch=Dispatch("none"))), claimed=SLOTS[:1]))
        return action

    monkeypatch.setattr(dispatcher.JobSchedule, "decide", interrupted)
    Dispatcher().look()
    assert started == [] and claimed() == {"cpu-0": "quick"}


def test_while_a_run_lives_whose_entry_is_damaged_nobody_knows_which_device_is_free(
    queue: Callable[..., RunDirectory], started: list[str], sleeper: Callable[[RunDirectory], Any]
) -> None:
    lost = queue("lost", claimed=SLOTS[1:])
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
    assert waits.held == dict.fromkeys(["cpu 0", "cpu 1"], "perhaps lost (its entry in the queue is damaged)")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    one.look()
    assert started == ["waits"]
