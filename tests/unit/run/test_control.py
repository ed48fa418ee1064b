"""Stopping and killing a run."""

import signal
import subprocess
from dataclasses import asdict

import pytest

from rbp_engine import os_process
from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import RunEnd
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.stop_request import LONGEST_REASON, StopRequest, read_stop_request
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.run.store.trash import move_to_trash
from rbp_engine.train.ranks.signals import ENDS, StopFlag
from tests.run_files import tell
from tests.stopping import stop


@pytest.fixture
def run(make_run, sleeper, tmp_path):
    """A run whose worker is a process that does nothing."""
    process = sleeper(RunDirectory(tmp_path / "runs" / "job"))
    run = make_run("job", attempt=asdict(os_process.of(process.pid)))
    assert judge(run).status == "running"
    return run


def test_killing_a_run_ends_its_processes_and_records_it(run):
    assert control.kill(run) == judge(run) == Verdict("killed", "killed (1 process)", Cause.REQUEST)
    assert processes.processes_of(run) == []


@pytest.mark.parametrize("status", ["failed", "killed", "completed"])
def test_what_a_run_that_has_ended_leaves_keeps_it_in_its_place_until_it_is_killed(run, status, monkeypatch):
    monkeypatch.setattr(processes, "LEAVE_S", 0.0)
    write_status(run, status, "process 0: lost the others", Cause.LOST_PROCESS)
    with pytest.raises(RunError, match=r"job still has process \d+: rbp stop --now job first"):
        move_to_trash(run)
    assert control.kill(run) == judge(run) == Verdict(status, "process 0: lost the others", Cause.LOST_PROCESS)
    assert processes.processes_of(run) == []
    with pytest.raises(RunError, match=f"is not running, it is {status}"):
        control.kill(run)
    move_to_trash(run)


def test_a_kill_does_not_override_an_end_that_the_run_has_just_recorded(run):
    """The last event is written, the summary is not yet, and the process is still exiting."""
    tell(run, RunEnd("completed"))
    assert control.kill(run) == judge(run) == Verdict("completed", "")
    assert processes.processes_of(run) == []


def test_a_stop_that_takes_too_long_says_what_to_do(run):
    with pytest.raises(RunError, match="job has not stopped within 0 s: rbp stop --now job"):
        stop(run, patience_s=0.3)
    assert run.stop_request.exists()


def test_a_run_that_ignores_a_stop_request_gets_one_signal(run, monkeypatch):
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.0)
    assert stop(run, patience_s=60.0).status == "lost"  # it died without recording an end
    assert processes.processes_of(run) == []


@pytest.fixture
def stranger(request, tmp_path, sleeper, without_privileges):
    """A process that does not belong to `runs/job`."""
    if request.param == "of a copied run's":
        yield sleeper(RunDirectory(tmp_path / "elsewhere" / "job"))
        return
    user = 65534 if request.param == "of another user's" else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=user) as process:  # it exits when its stdin is closed
        yield process


@pytest.mark.parametrize(
    ("send", "stranger"),
    [
        ("stop", "of nobody's"),
        ("kill", "of nobody's"),
        ("signal_ranks", "of nobody's"),
        ("kill", "of a copied run's"),
        pytest.param("kill", "of another user's", marks=pytest.mark.root),
    ],
    indirect=["stranger"],
)
def test_no_signal_is_sent_to_a_process_that_does_not_belong_to_the_run(make_run, stranger, monkeypatch, send):
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.0)
    run = make_run("job", attempt=asdict(os_process.of(stranger.pid)))
    if send == "stop":
        with pytest.raises(RunError, match=f"process {stranger.pid}, which it names, .* no signal was sent"):
            stop(run, patience_s=1.0)
        assert run.stop_request.exists()
    elif send == "kill":
        message = f"(0 processes); process {stranger.pid}, which it names, is another user's or not one of its own"
        assert message in control.kill(run).reason
    else:
        control.signal_ranks(run, signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        stranger.wait(0.2)


@pytest.mark.parametrize("act", [stop, control.kill])
def test_an_ended_run_can_be_neither_stopped_nor_killed(make_run, act):
    run = make_run(status="completed")
    with pytest.raises(RunError, match="is not running, it is completed"):
        act(run)
    assert not run.stop_request.exists()


def test_a_run_of_another_host_is_not_killed_from_here(make_run):
    run = make_run(attempt={"host": "another.example", "boot": "another"})
    with pytest.raises(RunError, match=r"runs on another\.example: kill it there, or stop it"):
        control.kill(run)
    assert judge(run).status == "running"


def test_a_worker_ends_with_the_cause_and_the_reason_of_the_request(make_run):
    run = make_run()
    flag = StopFlag(run)
    assert flag.level == 0
    control.request_stop(run, Cause.PRUNED, "worse than the median of 4 trials at epoch 3")
    flag = StopFlag(run)
    assert ENDS[flag.level] == "stopped"
    assert flag.why("stopped") == (Cause.PRUNED, "worse than the median of 4 trials at epoch 3")


@pytest.mark.parametrize(
    "request_of", ["", "{}", "now", '{"cause": 3}', '{"cause": "chaos"}', '{"cause": "out_of_memory", "reason": "no"}']
)
def test_any_other_content_is_a_plain_stop(make_run, request_of):
    run = make_run()
    run.stop_request.write_text(request_of)
    assert read_stop_request(run) == StopRequest()
    assert StopFlag(run).why("stopped") == (Cause.REQUEST, "asked to stop")


def test_the_first_request_stands_with_a_reason_of_bounded_length_on_one_line(make_run):
    run = make_run()
    control.request_stop(run, Cause.PRUNED, "\x1b[2J\n" + "x" * 1000)
    control.request_stop(run)
    found = read_stop_request(run)
    assert found.cause is Cause.PRUNED and len(found.reason) == LONGEST_REASON and found.reason.isprintable()


def test_a_queued_run_that_is_pruned_says_so(make_run):
    run = make_run(status="queued")
    control.request_stop(run, Cause.PRUNED, "others do better")
    assert judge(run) == Verdict("stopped", "others do better; taken out of the queue", Cause.PRUNED)
