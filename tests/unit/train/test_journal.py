"""The heartbeat of a worker."""

import time
from pathlib import Path

from rbp_engine.run.events import Heartbeat, RunStart, read_events
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import HEARTBEAT_S
from rbp_engine.run.summary import Summary, read_summary
from rbp_engine.train.journal import Journal


def test_the_heart_beats_while_nothing_else_is_written_and_keeps_the_summary_fresh(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.control.mkdir()
    journal = Journal(run, Summary("a", "digits", "x", "rate_m", 4, 1), attempt=1)
    journal.write(RunStart())
    journal.update(status="running")
    written = read_summary(run)
    deadline = time.monotonic() + 4 * HEARTBEAT_S
    while not any(isinstance(event.body, Heartbeat) for event in read_events(run.events())):
        assert time.monotonic() < deadline, "no heartbeat came"
        time.sleep(0.1)
    journal.end("completed", "")
    again = read_summary(run)
    assert written is not None and again is not None
    assert again.updated - written.updated > HEARTBEAT_S / 2


def test_before_the_run_has_started_the_heart_keeps_the_summary_fresh_and_run_start_is_the_first_event(
    tmp_path: Path,
) -> None:
    run = RunDirectory(tmp_path)
    run.control.mkdir()
    journal = Journal(run, Summary("a", "digits", "x", "rate_m", 4, 1), attempt=1)
    begun = time.time()
    deadline = time.monotonic() + 4 * HEARTBEAT_S
    while (summary := read_summary(run)) is None or summary.updated <= begun:
        assert time.monotonic() < deadline, "no sign of life came"
        time.sleep(0.1)
    journal.write(RunStart())
    journal.end("completed", "")
    assert isinstance(read_events(run.events())[0].body, RunStart)
