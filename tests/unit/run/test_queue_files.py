"""Files of the queue that others may have written: its entries, and the part of run.json about how a run is started."""

import errno
import io
import json
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine import lease
from rbp_engine.run import control, start
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.attempts import Asked, read_attempts
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.launch import launch
from rbp_engine.run.queue import arrange, transitions
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import (
    DamagedEntry,
    Entry,
    entries,
    has_entries,
    new_entry,
    queue_directory,
    read_queue,
    write_entry,
)
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import judge

CARDS = (Device("GPU-1", 0), Device("MIG-2", "MIG-2"))


def put(name: str = "good") -> Entry:
    run = RunDirectory(Path("/runs") / name)
    entry = new_entry(
        run, Asked(resources=Resources(2), dispatch=Dispatch("auto", 3)), after=2, claimed=CARDS, threads=4
    )
    write_entry(entry)
    return entry


def test_an_entry_has_what_its_users_shell_has_for_this_user_alone_and_is_read_back_unchanged(monkeypatch):
    monkeypatch.setenv("NAME_IN_ANOTHER_ENCODING", os.fsdecode(b"\xe4"))
    first, second = put(), put("other")
    second = replace(second, not_before=1.5)
    write_entry(second)
    assert read_queue() == (entries(), []) == ([first, second], [])
    assert first.environment["NAME_IN_ANOTHER_ENCODING"] == os.fsdecode(b"\xe4")
    assert (first.python, first.directory) == (sys.executable, str(Path.cwd()))
    assert stat.S_IMODE(first.path.parent.stat().st_mode) == 0o700


def test_an_entry_with_a_value_of_a_wrong_type_is_set_aside_and_can_be_removed():
    damaged, good = put("20260101-120000-digits-rate_m-0a1b"), put()
    write_json(damaged.path, read_json(damaged.path) | {"dispatch": {"retries": "lots"}})
    assert entries() == [good]
    (found,) = read_queue()[1]
    assert (found.path, found.id) == (damaged.path, "20260101-120000-digits-rate_m-0a1b")
    assert transitions.discard("another") == []
    assert transitions.discard("0a1b") == [found.id]
    assert read_queue() == ([good], [])


def test_an_entry_that_cannot_be_read_now_is_waited_for_and_one_that_is_damaged_is_not():
    entry = put()
    entry.path.write_text("{")
    assert not has_entries()
    entry.path.unlink()
    entry.path.symlink_to(entry.path)
    (found,) = read_queue()[1]
    assert found.why == "Too many levels of symbolic links" and has_entries()


TEXTS = st.sampled_from(["", "lots", "/runs", "a\0b", "\ud800", "=", "key"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
STORED = {
    "run": "/runs/job", "resources": {"processes": 1}, "dispatch": {"gpus": "auto", "retries": 1},
    "claimed": [{"key": "cpu-0", "name": None}], "threads": 2, "after": 0,
    "retried": 0, "not_before": 0.0, "python": "/usr/bin/python", "directory": "/", "environment": {"A": "b"},
    "place": 0, "device": "auto", "inexact": False, "from_scratch": False,
}  # fmt: skip


@given(
    changes=st.dictionaries(st.sampled_from(sorted(STORED)), ANYTHING, max_size=3), cut=st.none() | st.integers(0, 200)
)
def test_an_entry_with_any_content_is_read_with_valid_values_or_reported_as_damaged(changes, cut):
    path = queue_directory() / "00000000001790000000-job.json"
    path.write_text(json.dumps(STORED | changes)[:cut])
    (found,) = [one for kind in read_queue() for one in kind]
    if isinstance(found, DamagedEntry):
        assert found.id == "job" and found.why
        return
    counts = (found.takes, found.threads, found.after, found.dispatch.retries, found.retried)
    assert {type(count) for count in (*counts, found.place)} == {int} and min(counts) >= 0
    assert all(isinstance(device.key, str) for device in found.claimed)
    assert abs(found.not_before) < float("inf")
    names = [str(name) for device in found.claimed for name in (device.key, device.name)]
    for word in (str(found.run.path), found.python, found.directory, *names, *found.environment.values()):
        assert b"\0" not in os.fsencode(word)


@pytest.mark.parametrize(
    ("dispatch", "what"),
    [
        ("auto", "dispatch: expected object"),
        ({"gpus": ["0"]}, "dispatch.gpus: expected str"),
        ({"retries": "lots"}, "dispatch.retries: expected int"),
        ({"retries": -1}, "dispatch.retries: expected int >= 0"),
    ],
)
def test_a_run_with_damaged_dispatch_settings_is_not_queued(make_run, ended_pid, dispatch, what):
    run = make_run("job", status="failed", attempt={"pid": ended_pid, "dispatch": dispatch})
    with pytest.raises(RunError, match=rf"attempts/1\.json is damaged \({what}"):
        start.resume(run)
    assert read_queue() == ([], []) and judge(run).status == "failed"


def test_without_a_lock_runs_are_not_queued_and_nothing_of_them_is_left(tmp_path):
    (host_directory() / "lock").mkdir()
    request = LaunchRequest("digits", (), LaunchOptions(tmp_path / "runs", gpus="none"), (1, 2))
    with pytest.raises(RunError, match=r"cannot use .*/lock, where runs of this host wait.*XDG_STATE_HOME"):
        start.create_runs(request, start.check(request))
    assert not list(tmp_path.glob("runs/*"))


def test_a_run_that_waits_for_no_device_goes_on_where_there_can_be_no_queue(make_run, ended_pid, monkeypatch):
    (host_directory() / "lock").mkdir()
    monkeypatch.setattr(launch, "worker_command", lambda run, resources: ["true"])
    worker = start.resume(make_run("job", status="failed", attempt={"pid": ended_pid})).worker
    assert worker is not None and worker.wait() == 0


def test_a_new_entry_is_the_last_also_after_the_clock_was_set_back(monkeypatch):
    now = time.time_ns()
    for at, name in ((now, "first"), (now - 3600 * 10**9, "second"), (now - 1800 * 10**9, "third")):
        monkeypatch.setattr(time, "time_ns", lambda at=at: at)
        put(name)
    (host_directory() / "queue" / "none.json").write_text("{")
    put("fourth")
    assert [entry.run.id for entry in entries()] == ["first", "second", "third", "fourth"]


def test_a_run_whose_entry_is_gone_is_queued_again_once_it_is_stopped(make_run, ended_pid, monkeypatch):
    """The state directory was removed, or the run was copied to another machine while it waited."""
    run = make_run("job", status="queued", attempt={"pid": ended_pid})
    with pytest.raises(NothingToStart, match=r"not in the queue of this host: .*, rbp stop job first"):
        start.resume(run)
    control.request_stop(run)
    monkeypatch.setattr(launch, "worker_command", lambda run, resources: ["true"])
    worker = start.resume(run).worker
    assert worker is not None and worker.wait() == 0


@pytest.mark.parametrize("gpus", [None, "none"])
def test_an_attempt_that_was_killed_has_its_end_recorded_once_the_run_is_started_again(
    make_run, ended_pid, monkeypatch, gpus
):
    run = make_run("job", attempt={"pid": ended_pid})
    lost = judge(run)
    assert lost.status == "lost" and read_attempts(run)[0].ended is None
    monkeypatch.setattr(launch, "worker_command", lambda run, resources: ["true"])
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)
    start.resume(run, (), LaunchOptions(gpus=gpus))
    ended = read_attempts(run)[0].ended
    assert (ended.status, ended.reason, ended.cause) == ("lost", lost.reason, lost.cause)


@pytest.mark.parametrize("state", ["/proc/nowhere", ""], ids=["no state", "no lock"])
def test_a_run_is_asked_to_stop_where_there_can_be_no_queue(make_run, monkeypatch, state):
    if state:
        monkeypatch.setenv("XDG_STATE_HOME", state)
    else:
        (host_directory() / "lock").mkdir()
    run = make_run("job")
    assert transitions.discard(run.id) == []
    control.request_stop(run)
    assert judge(run).status == "stopping"


def test_what_the_queue_cannot_note_is_an_error_with_its_place() -> None:
    entry = put()
    entry.path.unlink()
    for path, change in (
        (entry.path, lambda: write_entry(entry)),
        (host_directory() / "paused", lambda: arrange.set_paused(False)),
    ):
        path.mkdir()
        with pytest.raises(RunError, match=f"cannot use .*{path.name}, where runs of this host wait"):
            change()


@pytest.fixture
def elsewhere(make_run):
    """A run that waits in the queue of another host, and the folder of that host."""
    run = make_run("job", status="queued")
    entry = new_entry(run, Asked(dispatch=Dispatch("none")))
    write_entry(entry)
    host = host_directory().with_name("box2")
    (host / "queue").mkdir(parents=True)
    entry.path.rename(host / "queue" / entry.name)
    return run, host


def test_to_ask_whether_a_run_is_stranded_takes_no_lock_and_a_dispatcher_may_start_there_meanwhile(elsewhere):
    run, host = elsewhere
    assert transitions.is_stranded(run)
    assert [path.name for path in host.iterdir()] == ["queue"]
    (host / "lock").touch()
    somebody = lease.try_take(host / "lock")
    transitions.take_stranded(run)  # not while somebody changes that queue
    assert somebody is not None and list(host.glob("queue/*"))
    somebody.release()
    serves = lease.try_take(host / "dispatcher.lock")
    assert serves is not None and not transitions.is_stranded(run)
    transitions.take_stranded(run)
    assert judge(run).status == "queued"
    serves.release()
    (host / "dispatcher.lock").unlink()
    transitions.take_stranded(run)
    assert judge(run).status == "stopped" and not list(host.glob("queue/*"))
    assert sorted(path.name for path in host.iterdir()) == ["lock", "queue"]


class FullDisk(io.StringIO):
    """Lines that cannot be written down."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_queue_whose_log_cannot_be_written_goes_on(monkeypatch):
    put().path.write_text("damaged")  # which the log is told of
    log = FullDisk()
    monkeypatch.setattr(sys, "stdout", log)
    Dispatcher().look()
    assert "its entry is damaged" in log.getvalue()
