import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbp_engine.run import control, processes
from rbp_engine.run.errors import RunError
from rbp_engine.run.events import EventWriter, RunEnd
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import Verdict, judge

MakeRun = Callable[..., RunDirectory]
Sleeper = Callable[[RunDirectory], "subprocess.Popen[bytes]"]


@pytest.fixture
def run(make_run: MakeRun, sleeper: Sleeper, tmp_path: Path) -> RunDirectory:
    """A run whose worker is a process that does nothing."""
    process = sleeper(RunDirectory(tmp_path / "runs" / "job"))
    run = make_run("job", attempt={"pid": process.pid, "pid_started": processes.start_time(process.pid)})
    assert judge(run).status == "running"
    return run


def test_a_killed_run_is_killed(run: RunDirectory) -> None:
    assert control.kill(run) == judge(run) == Verdict("killed", "killed by rbp kill (1 process)")
    assert processes.processes_of(run) == []


def test_a_kill_does_not_take_back_an_end_that_the_run_has_just_written(run: RunDirectory) -> None:
    """The last event is there, the summary not yet, and the process still leaves."""
    writer = EventWriter(run.events(), 1)
    writer.write(RunEnd("completed"), 48)
    writer.close()
    assert control.kill(run) == judge(run) == Verdict("completed", "")
    assert processes.processes_of(run) == []


def test_a_stop_that_nobody_heeds_in_time_says_what_to_do(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="job has not stopped within 0 s: rbp kill job"):
        control.stop(run, patience_s=0.3)
    assert run.stop_request.exists()


@pytest.mark.parametrize("act", [control.stop, control.kill])
def test_a_run_that_has_ended_can_be_neither_stopped_nor_killed(
    make_run: MakeRun, act: Callable[[RunDirectory], Verdict]
) -> None:
    run = make_run(status="completed")
    with pytest.raises(RunError, match="is not running, it is completed"):
        act(run)
    assert not run.stop_request.exists()


def test_a_run_of_another_host_is_not_killed_from_here(make_run: MakeRun) -> None:
    run = make_run(attempt={"host": "another.example"})
    with pytest.raises(RunError, match=r"runs on another\.example: kill it there, or stop it"):
        control.kill(run)
    assert judge(run).status == "running"
