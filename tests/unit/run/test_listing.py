"""The list of all runs, kept up to date."""

import os
import shutil
import time
from dataclasses import asdict, replace

import pytest

from rbp_engine import os_process
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.annotations import change_tags, set_note
from rbp_engine.run.store.listing import RunList
from tests.run_files import change_summary, write_attempt


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def statuses(records):
    return {record.run.id: record.verdict.status for record in records}


def test_unchanged_runs_keep_the_same_record_objects(runs, write_run):
    write_run(runs, "ended")
    write_run(runs, "live", status="running")
    listing = RunList(runs)
    records = listing.all()
    assert listing.all() is records and listing.live() is records


def test_new_changed_and_removed_runs_show_up(runs, write_run):
    write_run(runs, "first")
    run = write_run(runs, "second", status="running")
    listing = RunList(runs)
    listing.all()
    change_summary(run, epoch=7)
    assert [record.summary.epoch for record in listing.live()] == [20, 7]
    change_summary(run, status="completed")
    assert statuses(listing.live()) == {"first": "completed", "second": "completed"}
    shutil.rmtree(runs / "first")
    write_run(runs, "third")
    assert statuses(listing.all()) == {"second": "completed", "third": "completed"}


def test_an_ended_run_is_not_read_again_except_for_tags_and_note(runs, write_run):
    run = write_run(runs, "ended", tags=["paper"])
    listing = RunList(runs)
    (before,) = listing.all()
    change_tags(run, add=["kept"])
    set_note(run, "for the table")
    (record,) = listing.all()
    assert record.tags == ("paper", "kept") and record.annotations.note == "for the table"
    assert record.summary is before.summary


def test_a_run_whose_process_is_gone_is_lost_without_a_change_of_its_summary(runs, write_run, monkeypatch):
    monkeypatch.setattr("rbp_engine.run.store.listing.JUDGE_LIVE_EVERY_S", 0.0)
    run = write_run(runs, "live", status="running")
    listing = RunList(runs)
    assert statuses(listing.all()) == {"live": "running"}
    os.utime(run.summary_json, ns=(0, run.summary_json.stat().st_mtime_ns))  # the attempt changes, the summary does not
    write_attempt(run, process=asdict(replace(os_process.here(), started=1)))
    assert statuses(listing.live()) == {"live": "lost"}


def test_a_run_on_a_host_with_a_slow_clock_is_lost_only_until_its_next_heartbeat(runs, write_run):
    run = write_run(runs, "far", status="running", updated=time.time() - 3600, progressed=time.time() - 3600)
    write_attempt(run, process=asdict(replace(os_process.here(), host="far away", boot="another")))
    listing = RunList(runs)
    assert statuses(listing.all()) == {"far": "lost"} and time.monotonic() - listing.heard("far") >= 3600
    change_summary(run, updated=time.time() - 3595, progressed=time.time() - 3595)
    assert statuses(listing.all()) == {"far": "running"} and time.monotonic() - listing.heard("far") < 3600


def test_a_run_on_a_host_with_a_fast_clock_is_lost_after_silence_by_our_clock(runs, write_run, monkeypatch):
    monkeypatch.setattr("rbp_engine.run.store.listing.JUDGE_LIVE_EVERY_S", 0.0)
    run = write_run(runs, "far", status="running", updated=time.time() + 3600, progressed=time.time() + 3600)
    write_attempt(run, process=asdict(replace(os_process.here(), host="far away", boot="another")))
    listing = RunList(runs)
    assert statuses(listing.all()) == {"far": "running"}
    monkeypatch.setattr("rbp_engine.run.status.status.LOST_AFTER_S", 0.05)
    time.sleep(0.1)
    assert statuses(listing.live()) == {"far": "lost"}


def test_a_damaged_run_is_listed_with_the_reason_and_normally_once_repaired(runs, write_run, monkeypatch):
    run = write_run(runs, "torn")
    whole = run.run_json.read_text()
    run.run_json.write_text(whole[:50])
    monkeypatch.setattr("rbp_engine.run.store.listing.JUDGE_LOST_EVERY_S", 0.0)
    listing = RunList(runs)
    (record,) = listing.all()
    assert (record.verdict.status, record.readable) == ("unreadable", False)
    assert "is damaged" in record.verdict.reason
    run.run_json.write_text(whole)
    assert statuses(listing.all()) == {"torn": "completed"}


def test_a_runs_directory_without_permission_is_an_error_with_the_reason(runs, write_run, without_privileges):
    write_run(runs, "run")
    runs.chmod(0)
    try:
        with pytest.raises(RunError, match=f"cannot read the runs directory {runs}: Permission denied"):
            RunList(runs).all()
    finally:
        runs.chmod(0o755)
