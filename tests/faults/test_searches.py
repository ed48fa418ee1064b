"""A search whose processes are killed goes on when it is started again: no trial is lost, and none is there twice.

`make faults` takes 20 trials; fewer are enough to kill each kind of process once.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from rbp_engine.plan.driving import driver_of, end_of, start_driver, stop_driver
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import plan_search
from rbp_engine.plan.study import TrialState, propose
from rbp_engine.plan.trials import TrialReader
from rbp_engine.run import control
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.options import LaunchOptions
from rbp_engine.run.queue.host_lock import dispatcher
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from tests.waiting import wait_for

PATIENCE_S = 600.0
WORDS = ("lr=0.01..1:log", "T=2..4", "epochs=1", "batch=256")


class Searching:
    """A search in a runs directory and a state of its own."""

    def __init__(self, folder, slots, trials, patch, words, pruner):
        (folder / "config").mkdir(parents=True)
        (folder / "config" / "machine.toml").write_text(f"cpu_slots = {slots}\n")
        self.environment = {"RBP_CONFIG": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        self._patch = patch
        self.enter()
        options = LaunchOptions(folder / "runs", gpus="none")
        self.request = SweepRequest(LaunchRequest("digits", words, options), trials=trials, pruner=pruner)
        self.search = plan_search(self.request)
        self.kills = []

    def enter(self):
        """Let this process use its settings and its state."""
        for name, value in self.environment.items():
            self._patch.setenv(name, value)

    def start(self):
        start_driver(self.request, self.search)

    def trials(self):
        return [one.trial for one in TrialReader(self.search).read()]

    def ended(self):
        return sum(trial.state is not TrialState.OPEN for trial in self.trials())

    def wait_until(self, condition):
        wait_for(condition, PATIENCE_S, lambda: (driver_of(self.search), self.trials()))

    def kill(self, what, draw):
        """SIGKILL a process of this kind, if there is one at this moment."""
        found = []
        if what == "driver":
            process = driver_of(self.search)
            found = [] if process is None or process.pid is None else [process.pid]
        elif what == "dispatcher":
            process = dispatcher()
            found = [] if process is None or process.pid is None else [process.pid]
        else:
            runs = [
                record.run
                for record in list_runs(self.search.request.options.runs)
                if record.verdict.status == "running"
            ]
            found = [process.pid for run in runs for process in processes.processes_of(run)]
        with contextlib.suppress(IndexError, psutil.Error):
            psutil.Process(draw.choice(found)).kill()
            self.kills.append(what)

    def finish(self):
        """Start the search as often as a user would who finds it ended too early."""
        for _ in range(10):
            self.wait_until(lambda: not self.driver_lives())
            end = end_of(self.search)
            if end is not None and not end.failed:
                return
            self.start()
        raise AssertionError(end_of(self.search))

    def driver_lives(self):
        return driver_of(self.search) is not None

    def check_each_trial_once(self):
        """All trials have completed, and each run is one of theirs, with a trial of its own."""
        records = list_runs(self.search.request.options.runs)
        assert [record.verdict.status for record in records] == ["completed"] * self.search.trials
        sweeps = [read_run_json(record.run).sweep for record in records]
        assert {sweep.name for sweep in sweeps if sweep} == {self.search.name}
        assert sorted(sweep.trial for sweep in sweeps if sweep) == list(range(1, self.search.trials + 1))
        identities = {(trial.values["optim.lr"], trial.values["method.timesteps"]) for trial in self.trials()}
        assert len(identities) == self.search.trials

    def end(self):
        self.enter()
        stop_driver(self.search)
        for record in list_runs(self.search.request.options.runs):
            if judge(record.run).live:
                control.kill(record.run)


@pytest.fixture
def new_search(tmp_path, monkeypatch, trials):
    made = []

    def make(name, slots, words=WORDS, pruner=""):
        count = max(2, min(20, 20 * trials // 50))
        made.append(Searching(tmp_path / name, slots, count, monkeypatch, words, pruner))
        return made[-1]

    yield make
    for searching in made:
        searching.end()


def test_with_one_slot_a_search_that_is_killed_has_the_same_trials_as_one_that_is_not(new_search, draw):
    killed = new_search("killed", 1)
    half = killed.search.trials // 2
    with ThreadPoolExecutor() as pool:  # two commands at once, of which one starts the driver
        started = list(pool.map(start_driver, [killed.request] * 2, [killed.search] * 2))
    assert sorted(started) == [False, True]
    killed.wait_until(lambda: len(killed.trials()) >= half)
    time.sleep(draw.uniform(0, 1))
    killed.wait_until(lambda: dispatcher() is not None)
    killed.kill("driver", draw)
    killed.kill("dispatcher", draw)
    assert "driver" in killed.kills
    killed.wait_until(lambda: not killed.driver_lives())
    killed.finish()
    killed.check_each_trial_once()
    trials = killed.trials()
    for trial in trials:  # as a search would that has all the time in the world
        assert propose(killed.search.space, trials[: trial.number - 1], trial.number) == trial.values
    if killed.search.trials == 20:
        whole = new_search("whole", 1)
        whole.start()
        whole.finish()
        assert whole.trials() == trials
        print(f"{len(trials)} trials, killed after {half}: the same settings and scores as without")


def test_with_one_slot_it_prunes_the_same_trials_however_often_it_is_killed(new_search, draw, trials):
    if trials < 50:
        pytest.skip("minutes: make faults")
    words = ("lr=0.0001..1:log", "T=2", "epochs=5", "batch=256")
    killed, whole = (new_search(name, 1, words, "median") for name in ("killed", "whole"))
    killed.enter()
    killed.start()
    for ended in range(5, 19, 3):
        killed.wait_until(lambda ended=ended: killed.ended() >= ended or not killed.driver_lives())
        time.sleep(draw.uniform(0, 6))
        killed.kill("driver", draw)
        killed.wait_until(lambda: not killed.driver_lives())
        time.sleep(draw.uniform(0, 6))
        killed.start()
    killed.finish()
    whole.enter()
    whole.start()
    whole.finish()
    found, expected = ([(one.values, one.state, one.score) for one in each.trials()] for each in (killed, whole))
    assert found == expected
    count = sum(state is TrialState.PRUNED for _, state, _ in found)
    assert count
    print(f"{len(found)} trials, {count} pruned, the driver killed {len(killed.kills)} times: the same as without")


def test_with_two_slots_and_all_kinds_of_processes_killed_no_trial_is_lost_and_none_doubled(new_search, draw, trials):
    if trials < 50:
        pytest.skip("minutes: make faults")
    searching = new_search("two", 2)
    searching.start()
    kills = ["driver", "dispatcher", "worker"] * max(1, searching.search.trials // 7)
    for number, what in enumerate(kills):
        ended = 1 + number * (searching.search.trials - 2) // len(kills)
        searching.wait_until(lambda ended=ended: searching.ended() >= ended or not searching.driver_lives())
        time.sleep(draw.uniform(0, 1.5))
        searching.kill(what, draw)
        if not searching.driver_lives():
            searching.start()
    searching.finish()
    searching.check_each_trial_once()
    print(f"{searching.search.trials} trials with two slots, killed: {', '.join(searching.kills)}: each trained once")
