"""The heartbeat of a worker."""

import time

import pytest

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import ErrorRaised, Heartbeat, RunStart, WarningRaised
from rbp_engine.run.files.summary import Summary, read_summary
from rbp_engine.train.ranks.process import RankProcess
from rbp_engine.train.record import journal as record
from rbp_engine.train.record.journal import Journal

HEARTBEAT_S = 0.2


@pytest.fixture(autouse=True)
def a_quick_heart(monkeypatch):
    monkeypatch.setattr(record, "HEARTBEAT_S", HEARTBEAT_S)


def summary() -> Summary:
    return Summary("job", "p", "e", "rate_m", 2, 1)


def test_the_heartbeat_writes_events_and_updates_the_summary(run):
    journal = Journal(run, summary(), attempt=1)
    journal.write(RunStart())
    journal.update(status="running")
    written = read_summary(run)
    deadline = time.monotonic() + 60
    while (again := read_summary(run)) is None or again.updated - written.updated < HEARTBEAT_S / 2:
        assert time.monotonic() < deadline, "no heartbeat came"
        time.sleep(0.02)
    assert any(isinstance(event.body, Heartbeat) for event in read_events(run.events()))
    journal.end("completed", "")


def test_before_run_start_the_heartbeat_only_updates_the_summary(run):
    journal = Journal(run, summary(), attempt=1)
    deadline = time.monotonic() + 60
    while not run.summary_json.exists():
        assert time.monotonic() < deadline, "no sign of life came"
        time.sleep(0.02)
    journal.write(RunStart())
    journal.end("completed", "")
    assert isinstance(read_events(run.events())[0].body, RunStart)


def test_a_stall_is_reported_once_with_the_stack_of_every_thread_and_again_after_progress(run, tmp_path, capfd):
    journal = Journal(run, summary(), 1, RankProcess(tmp_path / "logs", 1, 1, 2))
    journal.check_for_stall(3600.0)
    assert capfd.readouterr().err == ""
    for _ in range(2):
        journal.progress()
        journal.check_for_stall(-1.0)
        journal.check_for_stall(-1.0)
        stacks = capfd.readouterr().err
        assert stacks.count("no step for") == 1
        assert "test_a_stall_is_reported_once" in stacks and "in _beat" in stacks  # this thread, and the heartbeat's
    journal.end("failed", "")
    warnings = [event.body.message for event in read_events(run.events(1)) if isinstance(event.body, WarningRaised)]
    assert warnings == [f"no step for 0 s; where each thread stands is in {tmp_path}/logs/stderr.log"] * 2


def test_only_rank_0_writes_the_end_of_the_run_and_the_summary(run, tmp_path):
    journal = Journal(run, summary(), 1, RankProcess(tmp_path / "logs", 1, 1, 2))
    journal.update(status="running")
    journal.end("failed", "no", Cause.ERROR, "Traceback")
    assert [event.body for event in read_events(run.events(1))] == [ErrorRaised("no", "Traceback", cause="error")]
    assert not run.summary_json.exists() and not run.events(0).exists()
    assert list(run.control.iterdir()) == []
