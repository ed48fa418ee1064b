import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from rbp_engine import os_process
from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import RunEnd
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict, judge
from rbp_engine.run.writer import EventWriter

MakeRun = Callable[..., RunDirectory]
Sleeper = Callable[[RunDirectory], "subprocess.Popen[bytes]"]


@pytest.fixture
def run(make_run: MakeRun, sleeper: Sleeper, tmp_path: Path) -> RunDirectory:
    """A run whose worker is a process that does nothing."""
    process = sleeper(RunDirectory(tmp_path / "runs" / "job"))
    run = make_run("job", attempt=asdict(os_process.of(process.pid)))
    assert judge(run).status == "running"
    return run


def test_killing_a_run_ends_its_processes_and_records_it(run: RunDirectory) -> None:
    assert control.kill(run) == judge(run) == Verdict("killed", "killed (1 process)", Cause.REQUEST)
    assert processes.processes_of(run) == []


def test_a_kill_does_not_override_an_end_that_the_run_has_just_recorded(run: RunDirectory) -> None:
    """The last event is written, the summary is not yet, and the process is still exiting."""
    writer = EventWriter(run.events(), 1)
    writer.write(RunEnd("completed"), 48)
    writer.close()
    assert control.kill(run) == judge(run) == Verdict("completed", "")
    assert processes.processes_of(run) == []


def test_a_stop_that_takes_too_long_says_what_to_do(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="job has not stopped within 0 s: rbp stop --now job"):
        control.stop(run, patience_s=0.3)
    assert run.stop_request.exists()


def test_a_run_that_ignores_a_stop_request_gets_one_signal(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.0)
    assert control.stop(run, patience_s=60.0).status == "lost"  # it died without recording an end
    assert processes.processes_of(run) == []


@pytest.fixture
def stranger(
    request: pytest.FixtureRequest, tmp_path: Path, sleeper: Sleeper, without_privileges: None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does not belong to `runs/job`."""
    if request.param == "of a copied run's":
        yield sleeper(RunDirectory(tmp_path / "elsewhere" / "job"))
        return
    user = 65534 if request.param == "of another user's" and os.geteuid() == 0 else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=user) as process:  # it exits when its stdin is closed
        yield process


@pytest.mark.parametrize(
    ("send", "stranger"),
    [
        ("stop", "of nobody's"),
        ("kill", "of nobody's"),
        ("signal_ranks", "of nobody's"),
        ("kill", "of a copied run's"),
        ("kill", "of another user's"),
    ],
    indirect=["stranger"],
)
def test_no_signal_is_sent_to_a_process_that_does_not_belong_to_the_run(
    make_run: MakeRun, stranger: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch, send: str
) -> None:
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.0)
    run = make_run("job", attempt=asdict(os_process.of(stranger.pid)))
    if send == "stop":
        with pytest.raises(RunError, match=f"process {stranger.pid}, which it names, .* no signal was sent"):
            control.stop(run, patience_s=1.0)
        assert run.stop_request.exists()
    elif send == "kill":
        message = f"(0 processes); process {stranger.pid}, which it names, is another user's or not one of its own"
        assert message in control.kill(run).reason
    else:
        control.signal_ranks(run, signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        stranger.wait(0.2)


@pytest.mark.parametrize("act", [control.stop, control.kill])
def test_an_ended_run_can_be_neither_stopped_nor_killed(
    make_run: MakeRun, act: Callable[[RunDirectory], Verdict]
) -> None:
    run = make_run(status="completed")
    with pytest.raises(RunError, match="is not running, it is completed"):
        act(run)
    assert not run.stop_request.exists()


def test_a_run_of_another_host_is_not_killed_from_here(make_run: MakeRun) -> None:
    run = make_run(attempt={"host": "another.example", "boot": "another"})
    with pytest.raises(RunError, match=r"runs on another\.example: kill it there, or stop it"):
        control.kill(run)
    assert judge(run).status == "running"
