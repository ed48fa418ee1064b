"""A real search whose driver and dispatcher are killed goes on when it is started again.

What a driver leaves that is killed at any call is tried in tests/unit/plan/test_search.py.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from rbp_engine.plan.driving import driver_of, end_of, start_driver, stop_driver
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import plan_search
from rbp_engine.plan.study import propose
from rbp_engine.plan.trials import TrialReader
from rbp_engine.run import control
from rbp_engine.run.queue.host_lock import dispatcher
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from tests.waiting import wait_for

PATIENCE_S = 600.0
WORDS = ("lr=0.01..1:log", "T=2..4", "epochs=1", "batch=256")


@pytest.fixture
def asked(tmp_path, monkeypatch, trials):
    """A search on a machine with one slot and a state of its own."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text("cpu_slots = 1\n")
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    request = LaunchRequest("digits", WORDS, LaunchOptions(tmp_path / "runs", gpus="none"))
    yield SweepRequest(request, trials=max(2, 20 * trials // 50))
    stop_driver(plan_search(SweepRequest(request)))
    for record in list_runs(tmp_path / "runs"):
        if judge(record.run).live:
            control.kill(record.run)


def test_a_search_that_is_killed_has_each_trial_once_and_with_the_settings_of_one_that_is_not(asked):
    search = plan_search(asked)
    with ThreadPoolExecutor() as pool:  # two commands at once, of which one starts the driver
        started = list(pool.map(start_driver, [asked] * 2, [search] * 2))
    assert sorted(started) == [False, True]
    wait_for(lambda: len(TrialReader(search).read()) >= search.trials // 2, PATIENCE_S)
    alive = wait_for(dispatcher, PATIENCE_S)  # between two trials there may be none
    for process in (driver_of(search), alive):
        with contextlib.suppress(psutil.NoSuchProcess):  # a dispatcher ends by itself when its trial has ended
            psutil.Process(process.pid).kill()
    wait_for(lambda: driver_of(search) is None, PATIENCE_S)
    assert end_of(search) is None and start_driver(asked, search)
    wait_for(lambda: driver_of(search) is None, PATIENCE_S)
    end = end_of(search)
    assert end is not None and not end.failed, end

    assert [record.verdict.status for record in list_runs(search.request.options.runs)] == ["completed"] * search.trials
    trials = [one.trial for one in TrialReader(search).read()]
    assert [trial.number for trial in trials] == list(range(1, search.trials + 1))
    for trial in trials:  # as a search would that has all the time in the world
        assert propose(search.space, trials[: trial.number - 1], trial.number) == trial.values
