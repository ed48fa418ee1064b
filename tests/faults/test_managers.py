"""Several people and programs that manage one run, and programs that die while they do."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from idle import IDLE

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.events import RunStart
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from tests.run_files import events_of
from tests.stopping import stop

LONG = ("epochs=5000", "train.checkpoint_every=1 h", *IDLE)
# Waits for a signal before it acts, so that several can act at the same moment.
AT_ONCE = """
import sys, time
from pathlib import Path
from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch

def stop(run):
    control.require_live(run)
    control.request_stop(run)
    control.wait_for_end(run)

act = {"resume": launch.start, "stop": stop, "kill": control.kill}[sys.argv[2]]
print("ready", flush=True)
sys.stdin.readline()
try:
    act(RunDirectory(Path(sys.argv[1])))
    print("done")
except RunError as error:
    print("refused:", error)
"""

# Dies as in a power failure, when the run's processes exist but are not yet recorded.
DIES_STARTING = """
import os, signal, sys
from pathlib import Path
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
launch.record_process = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
launch.start(RunDirectory(Path(sys.argv[1])))
"""


@pytest.fixture
def rbp(start):
    return lambda job, *words: start(*words, "--runs-dir", str(job.run.path.parent))


def at_once(job, *acts):
    """The outcome of each of these actions on the run, started at the same moment by separate processes."""
    command = [sys.executable, "-c", AT_ONCE, str(job.run.path)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    managers = [subprocess.Popen([*command, act], text=True, **pipes) for act in acts]
    for manager in managers:
        assert manager.stdout is not None and manager.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(len(acts)) as pool:
        output = list(pool.map(lambda manager: manager.communicate("go\n", timeout=180), managers))
    assert all(err == "" for _, err in output), output
    return [out.strip() for out, _ in output]


def starts(job):
    """The attempts that have begun, according to rank 0."""
    return [event.attempt for event in events_of(job.run, RunStart)]


@pytest.mark.xdist_group("reference of two")
def test_after_its_starter_is_killed_other_commands_stop_watch_and_resume_a_run_of_two(new_job, reference, rbp):
    """The stop returns within a step, a save and 5 s, with the checkpoint written, while loader workers are busy."""
    job = new_job(2)
    first = rbp(job, "resume", job.run.id)  # the first start of a run that exists already
    job.wait_until(lambda: job.run.events().exists())
    job.wait_until(lambda: job.summary.status == "running")
    ranks = job.ranks()
    for rank in ranks:  # the run is short, and commands start slowly on a busy machine
        rank.suspend()
    first.kill()
    first.communicate(timeout=60)
    assert judge(job.run).live

    stopper = rbp(job, "stop", job.run.id)
    watcher = rbp(job, "watch", job.run.id)
    job.wait_until(job.run.stop_request.exists)
    for rank in ranks:
        rank.resume()
    assert judge(job.run).status in ("stopping", "stopped")
    output, _ = stopper.communicate(timeout=120)
    took = time.time() - job.run.stop_request.stat().st_mtime
    assert job.saved_step == job.summary.step > 0, "the checkpoint is there when the command returns"
    job.check_stop_took(took)
    assert stopper.returncode == 0 and "stopped" in output, output
    verdict = job.check_end("stopped")
    assert job.saved_step == job.summary.step > 0 and f"saved at step {job.saved_step}" in verdict.reason
    print(f"rbp stop returned {took:.2f} s after it had asked")
    output, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 4 and f"rbp resume {job.run.id[-4:]}" in output, output

    resumed = rbp(job, "resume", job.run.id)
    resumed.communicate(timeout=180)
    assert resumed.returncode == 0
    job.check_end("completed")
    job.check_same(reference(2))


def test_simultaneous_resumes_start_one_attempt_and_simultaneous_stops_and_kills_end_it_once(new_job):
    job = new_job(1, *LONG)
    output = at_once(job, "resume", "resume", "resume")
    assert sorted(text.split()[0].rstrip(":") for text in output) == ["done", "refused", "refused"], output
    assert all("already" in text or "being started" in text for text in output if text != "done")
    job.wait_for_start()
    assert starts(job) == [1]
    output = at_once(job, "stop", "stop")
    assert "done" in output, output
    job.check_end("stopped")

    job.train()
    output = at_once(job, "stop", "kill", "kill")
    verdict = job.check_end("stopped", "killed")
    assert "done" in output and all(text == "done" or "is not running, it is" in text for text in output), output
    if verdict.status == "killed":
        assert verdict.reason.startswith("killed (")

    job.train()
    saved = job.saved_step
    output = at_once(job, "resume", "kill")
    assert output[1] == "done", output
    # Either the resume came first and was refused, or it came second and started another attempt.
    if output[0] == "done":
        job.wait_for_start()
        at_once(job, "kill")
    else:
        assert "already" in output[0] or "still has process" in output[0], output
    job.check_end("killed")
    assert job.saved_step >= saved and starts(job) == sorted(set(starts(job)))


def start_and_die(job):
    starter = subprocess.run([sys.executable, "-c", DIES_STARTING, str(job.run.path)], timeout=60)
    assert starter.returncode == -signal.SIGKILL


@pytest.mark.parametrize("nproc", [1, 2])
def test_a_run_whose_starter_is_killed_before_recording_it_records_itself(new_job, nproc):
    job = new_job(nproc, "epochs=5000", *IDLE)
    start_and_die(job)
    assert not last_attempt(job.run).begun
    assert judge(job.run).status == "starting"
    job.wait_until(lambda: last_attempt(job.run).begun)
    record = last_attempt(job.run)
    [root] = [one for one in processes.processes_of(job.run) if one.ppid() not in pids_of(job)]
    assert (record.attempt, record.process.pid, record.world_size) == (1, root.pid, nproc)
    job.wait_for_start()
    assert len(job.ranks()) == nproc
    assert stop(job.run).status == "stopped"
    job.check_end("stopped")
    assert job.saved_step > 0


def test_a_run_whose_worker_and_starter_are_killed_before_either_records_it_is_resumed(new_job):
    job = new_job(1, "epochs=5000", *IDLE)
    start_and_die(job)
    processes.kill_all(job.run)
    assert last_attempt(job.run).attempt == 1 and not last_attempt(job.run).begun
    job.train()
    assert last_attempt(job.run).attempt == 2 and starts(job)[-1] == 2
    assert stop(job.run).status == "stopped"
    job.check_end("stopped")


def pids_of(job):
    return {process.pid for process in processes.processes_of(job.run)}
