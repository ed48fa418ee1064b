"""Runs that wait for devices, the dispatcher that starts them, hooks and retries, with real processes and files.

Most workers here have a damaged preset: they are real, but end before they load torch.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from idle import IDLE

from rbp_engine import lease
from rbp_engine.preset import load_preset
from rbp_engine.run import control, start
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked, last_attempt, load_attempt, newest_attempt, newest_begun
from rbp_engine.run.files.events import CheckpointSaved, RunStart
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue import arrange, transitions
from rbp_engine.run.queue.dispatcher import POLL_S, Dispatcher, main
from rbp_engine.run.queue.entries import entries, entry_of, holders, new_entry, read_queue, write_entry
from rbp_engine.run.queue.hooks import run_hooks
from rbp_engine.run.queue.host_lock import LOCK, dispatcher, host_directory, locked
from rbp_engine.run.queue.observe import DISPATCHER_LOG, dispatcher_trouble, queued_runs
from rbp_engine.run.queue.start_queued import start_queued
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict, judge
from rbp_tui.text.run_text import where_queued
from tests.run_files import write_attempt
from tests.waiting import wait_for

DAMAGED = ("run.device=cpu",)
LONG = ("run.device=cpu", "T=1", "batch=256", "epochs=5000", "train.checkpoint_every=1 epoch", *IDLE)


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Write a machine.toml; it starts with one slot of the CPU. At the end, waits until no dispatcher is left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "config").mkdir()

    def write(text):
        (tmp_path / "config" / "machine.toml").write_text(f"cpu_slots = 1\n{text}")

    write("")
    yield write
    with locked():
        for entry in entries():
            entry.path.unlink()
    wait_for(lambda: dispatcher() is None)


@pytest.fixture
def paused():
    """Nothing starts before `arrange.set_paused(False)`."""
    arrange.set_paused(True)


@pytest.fixture
def submit(tmp_path, paused):
    """Queue runs of `digits`, in a queue that is paused; by default they fail at once."""
    made = []

    def make(*seeds, words=DAMAGED, retries=0):
        request = LaunchRequest("digits", words, LaunchOptions(tmp_path / "runs", retries=retries), seeds)
        runs = start.start_runs(request).runs
        for run in runs if words is DAMAGED else []:
            run.preset_toml.write_text("[data\n")
        made.extend(runs)
        return runs

    yield make
    for run in made:
        processes.kill_all(run)


def settled(*runs):
    """The statuses of the runs, once the dispatcher is done with them."""
    wait_for(lambda: all(entry_of(run) is None for run in runs))
    return [judge(run).status for run in runs]


def kill_dispatcher():
    process = dispatcher()
    if process is not None and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: dispatcher() is None)


def wait_for_hook(run, attempt, line):
    """Wait until the hooks of an attempt have said this; all that they have said."""
    log = run.control / f"hook-{attempt}"
    wait_for(lambda: log.exists() and line in log.read_text().splitlines())
    return log.read_text()


def holds_of(pid):
    """The holds that a process has open, without their random ends."""
    links = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it writes and closes files all the time
            links.add(str(path.readlink()))
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if "@rbp-device" in line]
    return [row[7].rpartition("/")[0] for row in rows if f"socket:[{row[6]}]" in links]


def test_runs_wait_as_queued_and_start_one_after_another_once_the_slot_is_free(submit):
    runs = submit(1, 2, 3)
    wait_for(dispatcher)
    time.sleep(1.2)  # long enough for a dispatcher that would start them
    assert [judge(run) for run in runs] == [Verdict("queued", transitions.WAITS)] * 3
    assert [judge(run, now=time.time() + 1e6).live for run in runs] == [True] * 3  # a waiting run is never lost
    assert [entry.run for entry in entries()] == runs
    arrange.set_paused(False)
    assert settled(*runs) == ["failed"] * 3
    begun = [load_attempt(run, 1).t for run in runs]
    ended = [read_json(run.summary_json)["updated"] for run in runs]
    assert begun[0] < ended[0] < begun[1] < ended[1] < begun[2]
    wait_for(lambda: dispatcher() is None)  # it exits when there is nothing to do


def test_if_one_run_cannot_be_created_none_is(tmp_path, submit):
    request = LaunchRequest("digits", DAMAGED, LaunchOptions(tmp_path / "runs"), (1, 2), run_id="mine")
    with pytest.raises(RunError, match="exists already"):
        start.create_runs(request, load_preset("digits", DAMAGED))
    assert entries() == [] and not (tmp_path / "runs" / "mine").exists()


def test_the_process_that_started_a_run_does_not_remain_as_a_zombie(submit):
    run, _ = submit(1, 2, words=LONG)  # the second keeps the dispatcher waiting
    arrange.set_paused(False)
    wait_for(lambda: judge(run).status == "running")
    process = dispatcher()
    wait_for(lambda: not psutil.Process(process.pid).children())


def test_a_dispatcher_that_can_open_no_file_for_a_while_says_so_and_goes_on(submit):
    (run,) = submit(1)
    process = wait_for(dispatcher)
    _, most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, most))
    arrange.set_paused(False)
    wait_for(lambda: "Too many open files" in queued_runs()[0].trouble)
    assert where_queued(queued_runs()[0]).startswith("the dispatcher tries again, it cannot go on: ")
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
    assert settled(run) == ["failed"]
    assert dispatcher_trouble() == ""


def test_a_dispatcher_that_has_ended_by_a_fault_says_so_until_another_is_at_work(submit, monkeypatch):
    (run,) = submit(1)
    wait_for(dispatcher)
    kill_dispatcher()
    with monkeypatch.context() as patch:
        patch.setattr(Dispatcher, "look", lambda self: 1 // 0)
        log = (host_directory() / DISPATCHER_LOG).open("a")
        ends = multiprocessing.get_context("fork").Process(target=lambda: (setattr(sys, "stdout", log), main()))
        ends.start()
        ends.join(60)
    assert ends.exitcode == 1
    arrange.set_paused(False)
    said = "the dispatcher has ended by ZeroDivisionError: integer division or modulo by zero; "
    assert where_queued(queued_runs()[0]).startswith(said)
    start.ensure_dispatcher()
    assert settled(run) == ["failed"] and dispatcher_trouble() == ""


def test_damaged_and_hostile_runs_do_not_block_the_others(submit, machine):
    machine("[hooks]\non_end = 'true'\n")
    damaged, faulty, worded, good = submit(1, 2, 3, 4, retries=1)
    entry = entry_of(damaged)
    write_json(entry.path, read_json(entry.path) | {"retried": "lots"})
    (good.control / "attempt-of-nobody").touch()
    for run, changes in ((faulty, {"status": "lost"}), (worded, {"status": "failed", "reason": "a\0b"})):
        # They had an attempt, but nothing is left of it.
        write_attempt(run, process={"pid": 7, "host": "gone"})
        summary = read_json(run.summary_json) | {"attempt": 1, "updated": 0.0} | changes
        run.summary_json.write_text(json.dumps(summary))
    arrange.set_paused(False)
    wait_for(lambda: judge(faulty).reason.startswith("starts again, 1 of 1"))
    control.request_stop(faulty)
    assert settled(faulty, worded, good) == ["stopped", "failed", "failed"]
    assert newest_begun(good) == 1
    assert [(one.path, one.why) for one in read_queue()[1]] == [(entry.path, "retried: expected int, got str")]
    wait_for(lambda: dispatcher() is None)  # the dispatcher does not wait for the damaged entry
    assert f"{damaged.id}: is passed over" in (host_directory() / "dispatcher.log").read_text()
    assert transitions.discard(damaged.id) == [damaged.id]


def test_runs_with_a_damaged_run_json_are_waited_for(submit, new_run):
    (waiting,), begun = submit(1), new_run()
    write_attempt(begun)
    write_status(begun, "failed", "an error", Cause.ERROR)
    whole, written = begun.run_json.read_bytes(), waiting.run_json.read_text()[:-3]
    begun.run_json.write_bytes(whole[:-3])
    waiting.run_json.write_text(written)
    with locked():
        write_entry(new_entry(begun, Asked()))
    arrange.set_paused(False)
    start.ensure_dispatcher()
    time.sleep(3 * POLL_S)
    assert waiting.run_json.read_text() == written and newest_attempt(waiting) == 0
    begun.run_json.write_bytes(whole)
    waiting.run_json.write_bytes(whole)
    assert settled(begun, waiting) == ["failed", "failed"]


def test_others_use_the_queue_while_what_is_left_of_a_run_that_starts_again_has_time_to_leave(new_run, monkeypatch):
    monkeypatch.setattr(processes, "LEAVE_S", 600.0)
    run = new_run()
    run.preset_toml.write_text("[data\n")
    assert launch.start(run).wait(60) == 1
    with subprocess.Popen(["sleep", "600"], env=dict(os.environ) | processes.marker(run)) as left:
        wait_for(lambda: processes.processes_of(run))
        with locked():
            write_entry(new_entry(run, Asked(), after=1))
            write_status(run, "queued", "waits")
        starter = threading.Thread(target=start_queued, args=(run,))
        starter.start()
        for _ in range(20):
            wait_for(is_queue_free)
            time.sleep(0.02)
        assert starter.is_alive()
        left.kill()
    starter.join(60)
    assert newest_begun(run) == 2


def is_queue_free():
    return lease.holder(host_directory() / LOCK) is None


HOOK = """echo "$RBP_HOOK $RBP_RUN_ID $RBP_STATUS $RBP_CAUSE $SHELL_OF_THE_USER"; echo "$RBP_REASON" >&2; pwd; exit 3"""


def test_hooks_run_once_per_attempt_in_the_users_environment(submit, machine, monkeypatch):
    machine(f"[hooks]\non_end = '''{HOOK}'''\non_failure = 'echo failed'\n")
    monkeypatch.setenv("SHELL_OF_THE_USER", "mine")
    (run,) = submit(1)
    monkeypatch.delenv("SHELL_OF_THE_USER")
    arrange.set_paused(False)
    settled(run)
    verdict = judge(run)
    text = wait_for_hook(run, 1, "failed")
    assert verdict.cause
    assert f"on_end {run.id} failed {verdict.cause} mine\n{verdict.reason}\n{Path.home()}\nexit code 3\n" in text
    run_hooks(run, "hook-1", verdict, ["on_end"])
    assert (run.control / "hook-1").read_text() == text

    worker = start.resume(run).worker  # a run that came from the queue goes back to it
    assert worker is None
    settled(run)
    wait_for(lambda: (run.control / "hook-2").exists())


def test_a_run_started_without_waiting_has_its_hooks_too(tmp_path, new_run, machine):
    run = new_run()
    run.preset_toml.write_text("[data\n")
    worker = start.resume(run).worker
    assert worker is not None and worker.wait(60) == 1
    assert entries() == [] and dispatcher() is None  # without hooks there is no need for a dispatcher

    machine("[hooks]\non_failure = 'echo $RBP_STATUS'\n")
    worker = start.resume(run).worker
    assert worker is not None and worker.wait(60) == 1
    assert settled(run) == ["failed"]
    wait_for_hook(run, 2, "failed")


def test_a_run_killed_from_outside_restarts_from_its_checkpoint_up_to_the_retries(submit, machine, look):
    machine("[hooks]\non_failure = 'echo $RBP_STATUS'\n")
    (run,) = submit(1, words=LONG, retries=1)
    arrange.set_paused(False)
    wait_for(lambda: newest_begun(run) == 1)
    look.first(run, CheckpointSaved)
    kill_dispatcher()  # the next dispatcher finds the run, and that it has to be started again
    # Against other users, the worker itself holds its device.
    assert holds_of(last_attempt(run).process.pid) == [f"@rbp-device/cpu-0/{os.geteuid()}"]
    os.kill(last_attempt(run).process.pid, signal.SIGKILL)
    start.ensure_dispatcher()
    wait_for(lambda: judge(run).status == "queued")
    assert judge(run).reason.startswith("starts again, 1 of 1, after: the process is gone")
    again = look.first(run, RunStart, attempt=2)
    assert again.body.resumed_from is not None and again.step > 0
    ended = load_attempt(run, 1).ended
    assert ended is not None and ended.status == "lost"
    assert {key: entry.run for key, entry in holders(entries()).items()} == {"cpu-0": run}
    assert not (run.control / "hook-1").exists()  # the run continues, so its end has not come

    os.kill(last_attempt(run).process.pid, signal.SIGKILL)
    assert settled(run) == ["lost"]
    assert newest_begun(run) == 2
    wait_for_hook(run, 2, "lost")


def test_a_run_that_was_started_at_once_restarts_with_the_processes_that_it_had(tmp_path):
    request = LaunchRequest("digits", LONG, LaunchOptions(tmp_path / "runs", retries=1))
    (run,) = start.start_runs(request).runs
    try:
        wait_for(lambda: judge(run).status == "running")
        os.kill(last_attempt(run).process.pid, signal.SIGKILL)
        wait_for(lambda: newest_begun(run) == 2 or judge(run).status == "failed")
        assert load_attempt(run, 2).resources == load_attempt(run, 1).resources == Resources()
        assert load_attempt(run, 2).dispatch == load_attempt(run, 1).dispatch
    finally:
        processes.kill_all(run)


def test_a_queued_run_does_not_inherit_the_markers_of_another_run(submit, monkeypatch):
    """For instance, if it was submitted from a hook, whose environment has the marker of another run."""
    for name in processes.MARKS:
        monkeypatch.setenv(name, "x")
    (run,) = submit(1)
    entry = entry_of(run)
    assert entry is not None and not set(entry.environment) & set(processes.MARKS)
    assert host_directory().stat().st_mode & 0o077 == 0  # the environment may hold secrets
