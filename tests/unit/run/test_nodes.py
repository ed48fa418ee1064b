import os
from dataclasses import asdict

import pytest

from rbp_engine import os_process
from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, write_json
from rbp_engine.run.launch import multinode
from tests.run_files import change_summary

ELSEWHERE = {"host": "another.example", "boot": "another"}
TWO_NODES = {"nodes": 2, "world_size": 2}


def test_each_node_takes_its_own_seat_and_there_are_as_many_as_nodes(make_run):
    run = make_run(status="starting", attempt=TWO_NODES)
    assert multinode.gathering(run) == 1
    assert [multinode.take_seat(run, 1, 2) for _ in range(3)] == [0, 1, None]
    assert multinode.gathering(run) is None
    assert multinode.take_seat(run, 2, 2) == 0, "another attempt has seats of its own"
    multinode.seat_file(run, 1, 1).unlink()
    assert multinode.take_seat(run, 1, 2) == 1


@pytest.mark.parametrize(
    ("changes", "attempt"),
    [
        ({"status": "running"}, TWO_NODES),
        ({"status": "preempted"}, TWO_NODES),
        ({"status": "starting"}, {}),  # it was never started
        ({"status": "starting", "attempt_number": 2}, TWO_NODES),  # the second attempt is not recorded yet
    ],
)
def test_only_a_starting_attempt_waits_for_nodes(make_run, changes, attempt):
    number = changes.pop("attempt_number", 1)
    run = make_run(**changes, attempt=attempt)
    change_summary(run, attempt=number)
    assert multinode.gathering(run) is None


def seat(run: RunDirectory, node: int, pid: int, **elsewhere: str) -> None:
    write_json(run.control / f"node-1-{node}", asdict(os_process.of(pid)) | elsewhere)


def test_launchers_on_this_host_are_found(make_run, sleeper, ended_pid):
    run = make_run(attempt=TWO_NODES | ELSEWHERE)
    launcher = sleeper(run)
    seat(run, 0, ended_pid, **ELSEWHERE)
    seat(run, 1, launcher.pid)
    assert [process.pid for process in multinode.started_here(run)] == [launcher.pid]
    assert multinode.unrelated_here(run) == []
    seat(run, 1, os.getpid())  # alive, but not a process of the run
    assert (multinode.started_here(run), multinode.unrelated_here(run)) == ([], [os.getpid()])
    seat(run, 1, ended_pid)
    assert (multinode.started_here(run), multinode.unrelated_here(run)) == ([], [])


@pytest.mark.parametrize("forged", [{"host": ["x"]}, {"host": {}, "pid": "1"}, {"pid": 10**30, "host": 7}])
def test_a_seat_with_any_content_can_be_read(make_run, ended_pid, forged):
    run = make_run(attempt=TWO_NODES | {"pid": ended_pid})
    write_json(run.control / "node-1-0", {"started": 1.0} | forged)
    assert multinode.started_here(run) == []
    assert control.kill(run).status in ("killed", "lost")


def test_a_kill_ends_the_processes_on_this_node_and_names_the_other_nodes(make_run, ended_pid):
    run = make_run(attempt=TWO_NODES | ELSEWHERE)
    seat(run, 0, ended_pid, boot="b1", host="first.example")
    seat(run, 1, ended_pid, boot="b2", host="second.example")
    with pytest.raises(RunError, match=r"runs on first\.example, on second\.example: kill it there"):
        control.kill(run)
    seat(run, 1, ended_pid)
    reason = "killed (0 processes); on first.example it has to be killed there"
    assert control.kill(run).reason == reason
