import json
import os
import time
from pathlib import Path

import pytest

from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import load_attempt
from rbp_engine.run.files.events import ErrorRaised, Heartbeat, RunEnd, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch.torchrun import launcher_log
from rbp_engine.run.status.status import ENDED, GATHERING_S, LOST_AFTER_S, STALLED_AFTER_S, Verdict, judge
from tests.run_files import change_summary, tell

ELSEWHERE = {"host": "another.example", "boot": "another"}
SILENT = LOST_AFTER_S + 5


@pytest.fixture
def gone(make_run, ended_pid):
    """A run whose summary says that it is running, but whose process is gone."""
    return make_run(attempt={"pid": ended_pid})


@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_run_whose_process_lives_has_the_status_of_its_summary(make_run, status):
    verdict = judge(make_run(status=status, reason="so it is"))
    assert verdict == Verdict(status, "so it is")
    assert verdict.live and not verdict.resumable


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_end_in_the_summary_is_final(make_run, ended_pid, status):
    written = {"status": status, "reason": "so it was", "cause": "data"}
    verdict = judge(make_run(**written, updated=0.0, attempt={"pid": ended_pid}))
    assert verdict == Verdict(status, "so it was", Cause.DATA)
    assert not verdict.live and verdict.resumable == (status != "completed")


@pytest.mark.parametrize("status", ["completed", "stopped", "preempted", "failed"])
def test_an_end_only_in_the_events_counts_once_the_process_is_gone(gone, status):
    error = [ErrorRaised("some error")] if status == "failed" else []
    tell(gone, RunStart(), *error, RunEnd(status, f"{status} it is", "disk"))
    assert judge(gone) == Verdict(status, f"{status} it is", Cause.DISK)


def test_the_end_of_an_earlier_attempt_does_not_count(make_run, ended_pid):
    run = make_run(attempt={"pid": ended_pid, "attempt": 2}, status="running")
    change_summary(run, attempt=2)
    tell(run, RunStart(), RunEnd("stopped", "asked to stop"))
    tell(run, RunStart(resumed_from="step-00000005"), Heartbeat(), attempt=2)
    assert judge(run).status == "lost"


def error_file(run: RunDirectory, content: str, rank: str = "0") -> Path:
    """In the place where torch.distributed writes it, below torchrun's log folder."""
    path = run.ranks / f"{run.id}_x1y2" / "attempt_0" / rank / "error.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("content", "failed"),
    [
        ('{"message": "ValueError: no"}', True),
        ('{"message": {"message": "ValueError: no", "extraInfo": {"timestamp": "1"}}}', True),
        ('{"message": "torch.distributed.elastic.multiprocessing.api.SignalException: got signal: 15"}', False),
        *((damaged, False) for damaged in ("", "{", "[]", '{"message": null}', '"x"')),
    ],
)
def test_an_error_file_of_torch_is_a_failure_unless_it_is_of_a_signal_or_damaged(gone, content, failed):
    error_file(gone, content)
    verdict = judge(gone)
    assert verdict == Verdict("failed", "ValueError: no", Cause.ERROR) if failed else verdict.status == "lost"


def test_an_error_file_is_found_beside_folders_that_are_very_deep_in_each_other(gone, nest):
    error_file(gone, '{"message": "ValueError: no"}')
    nest(gone.ranks)
    assert judge(gone) == Verdict("failed", "ValueError: no", Cause.ERROR)


def test_an_error_file_of_an_attempt_that_ended_a_moment_ago_is_ignored(gone):
    """When a run is resumed at once, nothing of the new attempt is older than its claim."""
    path = error_file(gone, '{"message": "ValueError: a moment ago"}')
    begun = load_attempt(gone, 1).t or 0.0
    os.utime(path, (begun - 0.1, begun - 0.1))
    assert judge(gone).status == "lost"
    os.utime(path, (begun + 0.1, begun + 0.1))
    assert judge(gone) == Verdict("failed", "ValueError: a moment ago", Cause.ERROR)


def test_a_signal_in_the_log_of_an_earlier_attempt_is_ignored(make_run, ended_pid):
    log = "exitcode : -9\n"
    run = make_run(attempt={"pid": ended_pid, "stderr_from": len(log)})
    run.stderr().write_text(log)
    assert judge(run).status == "lost"
    run.stderr().write_text(log + "exitcode : -11\n")
    assert judge(run) == Verdict("killed", "ended by signal 11", Cause.LOST_PROCESS)


def test_a_traceback_of_a_loader_process_is_not_the_reason_why_its_worker_was_killed(gone):
    """The loader reports that its worker is gone. The worker's reserve shows that it wrote no last event itself."""
    gone.reserve().touch()
    gone.stderr().write_text("Traceback (most recent call last):\n  …\nConnectionResetError: reset by peer\n")
    assert judge(gone).status == "lost"
    before = (load_attempt(gone, 1).t or 0.0) - 1.0  # like the reserve of an attempt that was killed before this one
    os.utime(gone.reserve(), (before, before))
    assert judge(gone) == Verdict("failed", "ConnectionResetError: reset by peer", Cause.ERROR)
    gone.reserve().unlink()
    assert judge(gone) == Verdict("failed", "ConnectionResetError: reset by peer", Cause.ERROR)


def test_a_run_whose_process_is_gone_after_rbp_kill_is_killed_even_before_it_is_recorded(gone):
    gone.kill_request.touch()
    assert judge(gone) == Verdict("killed", "killed", Cause.REQUEST)


@pytest.mark.parametrize(
    ("attempt", "summary", "later", "status", "said"),
    [
        ({"started": 7}, {}, 0, "lost", ""),  # a reused pid is not the worker
        ({"pid": None}, {}, 0, "running", ""),  # a process that is not known is judged by its heartbeat
        ({"pid": "7"}, {}, SILENT, "lost", ""),
        ({"started": 7} | ELSEWHERE, {}, SILENT - 10, "running", ""),  # and so is one of another host, not by its pid
        ({"started": 7} | ELSEWHERE, {}, SILENT, "lost", "another.example"),
        (None, {}, SILENT, "lost", "process {pid}"),  # it lives and is silent
        (None, {}, -3600, "running", ""),  # a clock that is behind
        (None, {"status": "starting", "progressed": 1.0}, 0, "starting", ""),  # it cannot be stalled yet
        ({}, {"status": "starting"}, 0, "starting", ""),
        ({}, {"status": "starting"}, SILENT, "lost", "never started"),
        ({}, {"status": "queued", "reason": "waits"}, SILENT, "queued", "waits"),  # never lost
        (ELSEWHERE, {"status": "queued"}, SILENT, "queued", ""),
        ({"resources": {"processes": 2}}, {"status": "starting"}, SILENT, "starting", ""),  # as long as torchrun waits
        ({"resources": {"processes": 2}}, {"status": "starting"}, GATHERING_S + 5, "lost", ""),
    ],
)
def test_a_run_is_judged_by_its_process_and_its_heartbeat(make_run, attempt, summary, later, status, said):
    verdict = judge(make_run(attempt=attempt, **summary), now=time.time() + later)
    assert verdict.status == status and said.format(pid=os.getpid()) in verdict.reason
    assert verdict.live == (status != "lost")


@pytest.mark.parametrize(
    ("step_ms", "idle", "expected"),
    [
        (None, STALLED_AFTER_S - 5, "running"),
        (None, STALLED_AFTER_S + 5, "stalled"),
        (10.0, STALLED_AFTER_S + 5, "stalled"),
        (60_000.0, STALLED_AFTER_S + 5, "running"),
        (60_000.0, 20 * 60 + 5, "stalled"),
    ],
)
def test_a_run_without_steps_is_stalled_after_a_minute_or_twenty_step_times(make_run, step_ms, idle, expected):
    verdict = judge(make_run(step_ms=step_ms, progressed=time.time() - idle))
    assert verdict.status == expected
    assert verdict.live


def test_a_run_asked_to_stop_is_stopping_until_it_ends_or_stalls(make_run, ended_pid):
    run = make_run("asked")
    run.stop_request.touch()
    verdict = judge(run)
    assert verdict.status == "stopping" and verdict.live and "asked to stop" in verdict.reason
    long_ago = make_run("still", progressed=time.time() - STALLED_AFTER_S - 1)
    gone = make_run("gone", attempt={"pid": ended_pid})
    ended = make_run("ended", status="stopped", reason="asked to stop, saved at step 4")
    for other in (long_ago, gone, ended):
        other.stop_request.touch()
    assert [judge(other).status for other in (long_ago, gone, ended)] == ["stalled", "lost", "stopped"]


def test_a_new_attempt_is_not_judged_by_the_process_of_the_previous_one(make_run, ended_pid):
    """The summary already counts the second attempt; the recorded process is that of the first."""
    run = make_run(attempt={"pid": ended_pid, "attempt": 1}, status="starting")
    change_summary(run, attempt=2)
    assert judge(run).status == "starting"
    assert judge(run, now=time.time() + LOST_AFTER_S + 5).status == "lost"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"step": "x"}'])
def test_a_run_without_a_summary_is_judged_by_its_other_files(make_run, content):
    run = make_run()
    tell(run, RunStart(steps_per_epoch=5, epochs=2))
    run.summary_json.unlink()
    if content is not None:
        run.summary_json.write_text(content)
    assert judge(run).status == "running"
    tell(run, RunEnd("failed", visible("boom"), Cause.ERROR))
    assert judge(run) == Verdict("failed", "boom", Cause.ERROR)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"id": "x"}'])
def test_a_missing_or_damaged_run_json_is_reported(make_run, content):
    run = make_run()
    run.run_json.unlink()
    if content is not None:
        run.run_json.write_text(content)
    assert judge(run) == Verdict("lost", "run.json is missing or damaged")


# Several processes


@pytest.fixture
def two_gone(make_run, ended_pid):
    """A run of two processes, both gone."""
    return make_run(attempt={"pid": ended_pid, "resources": {"processes": 2}})


def test_the_reason_is_the_earliest_error_of_a_process_s_own_then_a_signal_then_an_error_about_others(two_gone):
    tell(two_gone, ErrorRaised("lost the other processes", about_others=True), rank=0, now=10.0)
    tell(two_gone, rank=1)
    assert judge(two_gone) == Verdict("failed", "process 0: lost the other processes", Cause.LOST_PROCESS)
    launcher_log(two_gone, 1, 1).write_text(report(("22:31:00", 3, KILLED)))
    assert judge(two_gone) == Verdict("killed", f"process 3 was {BY_SIGNAL_9}", Cause.LOST_PROCESS)
    tell(two_gone, ErrorRaised("second"), rank=2, now=30.0)
    tell(two_gone, ErrorRaised("first", cause="own_code"), rank=1, now=20.0)
    assert judge(two_gone) == Verdict("failed", "process 1: first", Cause.OWN_CODE)


@pytest.mark.parametrize("written", [("0", "1"), ("1", "0")])
def test_the_reason_is_the_earliest_error_file(two_gone, written):
    for number, rank in enumerate(written):
        path = error_file(two_gone, json.dumps({"message": {"message": f"ImportError: {rank}"}}), rank)
        os.utime(path, (time.time() + 60 + 0.5 * number,) * 2)
    assert judge(two_gone) == Verdict("failed", f"process {written[0]}: ImportError: {written[0]}", Cause.ERROR)


def report(*failures: tuple[str, int, str], root: int = 0) -> str:
    """The end of torchrun's log as torch 2.13 writes it: time, rank and exit code of each failed process.

    `root` is the index of the one that torchrun takes for the first.
    """
    blocks = [
        f"[{number}]:\n  time      : 2026-11-24_{at}\n  host      : localhost\n"
        f"  rank      : {rank} (local_rank: {rank})\n  exitcode  : {code}\n  error_file: <N/A>\n  traceback : …"
        for number, (at, rank, code) in enumerate(failures)
    ]
    first = blocks.pop(root)
    others = "\n".join(blocks) or "  <NO_OTHER_FAILURES>"
    line, thin = "=" * 55, "-" * 55
    return (
        "E1124 22:30:57.037000 13372 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) "
        "local_rank: 0 (pid: 13376) of binary: python\n"
        "Traceback (most recent call last):\n  …\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
        f"{line}\nrbp_engine.train.worker FAILED\n{thin}\nFailures:\n{others}\n{thin}\n"
        f"Root Cause (first observed failure):\n{first}\n{line}\n"
    )


KILLED, ENDED_BY_LAUNCHER = "-9 (pid: 13377)  (SIGKILL)", "-15 (pid: 13408)  (SIGTERM)"
GAVE_UP, ABORTED = "1 (pid: 13376) ", "-6 (pid: 13376)  (SIGABRT)"
BY_SIGNAL_9 = "ended by signal 9 (SIGKILL: probably out of memory)"


@pytest.mark.parametrize(
    ("log", "who"),
    [
        # Recorded with torch 2.13: one process is killed, and the other …
        (report(("22:30:57", 0, GAVE_UP), ("22:30:57", 1, KILLED)), "process 1 was"),
        (report(("22:31:03", 1, KILLED), ("22:31:03", 0, ENDED_BY_LAUNCHER)), "process 1 was"),
        (report(("22:31:00", 0, KILLED), ("22:31:00", 1, KILLED)), "processes 0, 1 were"),
        (report(("22:31:00", 1, KILLED)), "process 1 was"),
        # In the same form: a communicator that aborts, and a process that is killed a second after the first.
        (report(("22:31:00", 0, ABORTED), ("22:31:00", 1, KILLED)), "process 1 was"),
        (report(("22:31:01", 0, KILLED), ("22:31:00", 1, KILLED), root=1), "process 1 was"),
        (report(("22:31:00", 0, ENDED_BY_LAUNCHER), ("22:31:00", 1, KILLED)), "process 1 was"),
    ],
)
def test_the_killed_process_is_named_and_not_the_one_that_ended_because_of_it(two_gone, log, who):
    launcher_log(two_gone, 1, 0).write_text(log)
    assert judge(two_gone) == Verdict("killed", f"{who} {BY_SIGNAL_9}", Cause.LOST_PROCESS)


def test_the_first_of_the_processes_killed_on_several_nodes_is_named(two_gone):
    launcher_log(two_gone, 1, 0).write_text(report(("22:31:05", 0, KILLED)))
    launcher_log(two_gone, 1, 1).write_text(report(("22:31:02", 5, "-11 (pid: 7)  (SIGSEGV)")))
    assert judge(two_gone) == Verdict("killed", "process 5 was ended by signal 11", Cause.LOST_PROCESS)
