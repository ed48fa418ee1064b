"""What has happened since the last visit to the dashboard."""

import time

import pytest

from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.runs.since_last_visit import since_you_left

NOW = 1.8e9


@pytest.fixture
def records(tmp_path, write_run):
    write_run(tmp_path, "done", updated=NOW, status="completed")
    write_run(tmp_path, "failed", updated=NOW, status="failed", reason="CUDA out of memory\nat epoch 0")
    write_run(tmp_path, "old", updated=NOW - 1000, status="stopped")
    write_run(tmp_path, "live", updated=time.time(), status="running")
    return list_runs(tmp_path)


def test_runs_that_ended_since_then_are_counted_with_the_reason_of_a_failure(records, tmp_path, write_run):
    assert since_you_left(records, 0.0) == "", "on a first visit nothing has happened"
    assert since_you_left(records, NOW - 10).endswith(": 1 done · 1 failed: CUDA out of memory at epoch 0")
    write_run(tmp_path, "another", updated=NOW, status="failed", reason="a NaN")
    text = since_you_left(list_runs(tmp_path), NOW - 10)
    assert "2 failed" in text and "NaN" not in text


def test_a_run_that_a_search_has_pruned_is_not_said_to_be_stopped(records, tmp_path, write_run):
    write_run(tmp_path, "pruned", updated=NOW, status="stopped", cause="pruned")
    assert "1 pruned" in (text := since_you_left(list_runs(tmp_path), NOW - 10)) and "stopped" not in text


@pytest.mark.parametrize("left_at", [1e300, float("inf")])
def test_a_time_outside_the_calendar_is_ignored(records, left_at):
    assert since_you_left(records, left_at, ["done"]) == "Since you left (some time ago): 1 done"
