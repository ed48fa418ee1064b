"""Two machines with one home, at once and one after the other: nothing is started twice, and nothing waits for ever.

The second machine is a namespace with another host name, boot id and pids, which needs root.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from rbp_engine import os_process
from rbp_engine.plan import driving
from rbp_engine.preset import load_preset
from rbp_engine.run import start
from rbp_engine.run.errors import NothingToStart, RunError
from rbp_engine.run.files.attempts import (
    Asked,
    AttemptRecord,
    claim_attempt,
    load_attempt,
    newest_attempt,
    newest_begun,
)
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.entries import entries, new_entry, write_entry
from rbp_engine.run.queue.host_lock import be_dispatcher, host_directory, locked
from rbp_engine.run.queue.transitions import WAITS, is_stranded
from rbp_engine.run.request import LaunchOptions
from rbp_engine.run.status.status import LOST_AFTER_S, judge
from tests.other_machine import OtherMachine
from tests.races.test_racing_dispatchers import PYTHON, RACERS, SLOTS, queue_jobs, start_racer
from tests.stopping import stop
from tests.waiting import wait_for

pytestmark = pytest.mark.root
JOBS = 2 * SLOTS
CLAIMS = 20
IMPORTS = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace
from rbp_engine.os_process import here
from rbp_engine.run import control, start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.entries import entries
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.queue.transitions import is_stranded
from rbp_engine.run.status.status import judge
from rbp_engine.plan import driving

def claim(run):
    claim_attempt(run, AttemptRecord(launch._free_attempt(run, None), starter=here(), t=time.time()))

def said(act):
    try:
        return repr(act())
    except RunError as error:
        return str(error)

run = RunDirectory(Path(sys.argv[1]))
"""
RACE = f"""{IMPORTS}
sys.stdout = open(host_directory() / "log-of-box2", "w")
while entries():
    dispatcher.main()
    time.sleep(0.1)
"""
CLAIM = f"""{IMPORTS}
won = []
print(flush=True)
begin = float(input())
for number in range({CLAIMS}):
    while time.time() < begin + number / 20:
        pass
    try:
        claim(RunDirectory(run.path / f"job-{{number}}"))
        won.append(number)
    except (RunError, FileExistsError):
        pass
print(json.dumps(won))
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text(f"cpu_slots = {SLOTS}\n")
    return tmp_path


@pytest.fixture
def box(tmp_path):
    with OtherMachine(tmp_path / "boots") as machine:
        yield machine


@pytest.fixture
def made(home):
    preset = load_preset("digits", ["run.device=cpu"])
    return lambda name: launch.create(preset, home / "runs", run_id=name)


def queue(run):
    with locked():
        write_entry(new_entry(run, Asked(dispatch=Dispatch("none"))))
        write_status(run, "queued", WAITS)


def test_a_run_of_another_machine_is_judged_by_its_heartbeat_and_left_alone(made, box):
    run = made("job")
    worker = subprocess.Popen(["sleep", "infinity"])
    claim_attempt(run, AttemptRecord(1, os_process.of(worker.pid), t=time.time()))
    write_status(run, "running", attempt=1)

    def ask(act):
        return box.python(f"{IMPORTS}print({act})", str(run.path)).strip()

    assert judge(run).status == ask("judge(run).status") == "running"
    assert ask("said(lambda: control.kill(run))").startswith(f"job runs on {socket.gethostname()}: kill it there")
    assert ask("said(lambda: launch.start(run))") == "job is running already: rbp watch job"
    worker.kill()
    worker.wait(60)
    assert judge(run).status == "lost"
    assert ask("judge(run).status") == "running"  # which that machine cannot know better, until it is silent
    silent = f"judge(run, now=time.time() + {LOST_AFTER_S + 5})"
    assert ask(f"{silent}.status") == "lost" and socket.gethostname() in ask(f"{silent}.reason")
    with pytest.raises(RunError, match="is not running, it is"):
        stop(run)


def test_a_run_in_the_queue_of_another_machine_is_that_one_s_as_long_as_it_is_served(made, box):
    run = made("job")
    queue(run)
    dispatcher = be_dispatcher()
    assert dispatcher is not None
    ask = f"{IMPORTS}print(judge(run).status, len(entries()), is_stranded(run), said(lambda: start.resume(run)))"
    said = "queued 0 False job is queued already, not in the queue of this host"
    assert box.python(ask, str(run.path)).startswith(said)
    dispatcher.release()
    look = f"{IMPORTS}print(host_directory().name, is_stranded(run))"
    assert box.python(look, str(run.path)) == "box2 True\n"
    assert not is_stranded(run)  # here its queue is


def test_an_attempt_is_one_machine_s(made, box):
    runs = [made(f"job-{number}") for number in range(CLAIMS)]
    there = box.start_python(CLAIM, str(runs[0].path.parent))
    here = subprocess.Popen(
        [sys.executable, "-P", "-c", CLAIM, str(runs[0].path.parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for process in (there, here):
        assert process.stdout is not None and process.stdout.readline() == b"\n"
    begin = time.time() + 0.2
    for process in (there, here):
        assert process.stdin is not None
        process.stdin.write(f"{begin}\n".encode())
        process.stdin.flush()
    won = [json.loads(process.communicate(timeout=120)[0]) for process in (there, here)]
    assert sorted(won[0] + won[1]) == list(range(CLAIMS))
    assert [load_attempt(run, 1).starter.is_here for run in runs] == [number in won[1] for number in range(CLAIMS)]


def test_a_start_that_another_machine_has_claimed_is_waited_for(made, box):
    run = made("job")
    box.python(f"{IMPORTS}claim(run)", str(run.path))
    # Its process is gone, which nobody here can know.
    with pytest.raises(NothingToStart, match=r"job is being started by process \d+ on box2 at this moment"):
        launch.start(run)
    long_ago = time.time() - LOST_AFTER_S - 5
    for path, moment in ((run.attempt(1), "t"), (run.summary_json, "updated")):
        write_json(path, read_json(path) | {moment: long_ago})
    assert launch._free_attempt(run, None) == 2


def test_a_search_is_driven_by_one_machine(home, box):
    search = SimpleNamespace(name="s", trials=3, request=SimpleNamespace(options=SimpleNamespace(runs=home / "runs")))
    lease = driving.be_driver(search)
    assert lease is not None
    code = f"""{IMPORTS}
search = SimpleNamespace(name="s", trials=3, request=SimpleNamespace(options=SimpleNamespace(runs=run.path)))
print(driving.start_driver(None, search), driving.be_driver(search), driving.driver_of(search))
print(said(lambda: driving.stop_driver(search)))
"""
    me = f"process {os.getpid()} on {socket.gethostname()}"
    assert box.python(code, str(home / "runs")) == f"False None {me}\ns is driven by {me}: stop it there\n"
    lease.release()
    assert driving.driver_of(search) is None


@pytest.fixture
def started(home):
    # The worker says that it has failed: of one of the other machine nobody here knew before half a minute of silence.
    worker = """sed -i 's/"starting"/"failed"/' "$run/summary.json" """
    return queue_jobs(home, JOBS, PYTHON.replace("exec sleep 0.2", worker))


def test_of_two_machines_with_one_name_each_job_is_started_once(started, box, home):
    host_directory()
    box.rename(socket.gethostname())
    theirs = [box.start_python(RACE, str(home)) for _ in range(2)]
    ours = [start_racer() for _ in range(RACERS // 4)]
    wait_for(lambda: not entries(), 60 + 10 * JOBS, lambda: f"{len(entries())} jobs are left", 0.1)
    for process in theirs:
        process.wait(60)
    for racer in ours:
        racer.join(60)
    jobs = {f"job-{number}" for number in range(JOBS)}
    assert started() == Counter(jobs)
    for job in jobs:
        assert newest_attempt(RunDirectory(home / "runs" / job)) == 1


def test_a_host_that_gets_another_name_goes_on_with_its_queue(made, box, home):
    code = f"""{IMPORTS}
from tests.races.test_two_machines import queue
from rbp_engine.run.queue import arrange
arrange.set_paused(True)
queue(run)
start.ensure_dispatcher()
"""
    run = made("job")
    run.preset_toml.write_text("[data\n")  # its worker ends at once
    box.python(code, str(run.path), PYTHONPATH=str(Path.cwd()))
    box.rename("renamed")
    assert box.python(f"{IMPORTS}print(host_directory().name, len(entries()))", str(run.path)) == "box2 1\n"
    go = f"{IMPORTS}from rbp_engine.run.queue import arrange; arrange.set_paused(False); start.ensure_dispatcher()"
    box.python(go, str(run.path))
    wait_for(lambda: judge(run).status == "failed")
    wait_for(lambda: box.python(f"{IMPORTS}print(len(entries()))", str(run.path)) == "0\n")
    assert newest_begun(run) == 1


def test_what_waited_when_a_host_was_switched_off_goes_on_there_or_is_taken_over_under_another_name(made, box):
    code = f"{IMPORTS}from tests.races.test_two_machines import queue; queue(run)"
    run = made("job")
    run.preset_toml.write_text("[data\n")
    box.python(code, str(run.path), PYTHONPATH=str(Path.cwd()))
    box.start_again()
    look = f"{IMPORTS}print(host_directory().name, len(entries()), is_stranded(run))"
    assert box.python(look, str(run.path)) == "box2 1 False\n"
    box.name = "renamed"
    box.start_again()
    assert box.python(look, str(run.path)) == "renamed 0 True\n"
    assert is_stranded(run)
    assert start.resume(run, (), LaunchOptions(gpus="none")).worker is None
    assert not is_stranded(run)
    wait_for(lambda: judge(run).status == "failed" and not entries())
    assert newest_begun(run) == 1
