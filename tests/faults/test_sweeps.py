"""A sweep whose dispatcher, workers and own process are killed: the same command completes it, and nothing twice."""

import json
import os
import signal
import statistics
import time
from collections import Counter

import pytest
from idle import IDLE

from rbp_engine.run.files.attempts import last_attempt, newest_attempt, read_attempts
from rbp_engine.run.files.events import RunStart
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.queue.host_lock import dispatcher, host_directory
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import run_directories
from tests.run_files import events_of
from tests.waiting import wait_for

WHOLE = ("method=bptt,rate_m", "T=1,2,3", "epochs=3", "batch=64", "--seeds", "1,2")
# Two runs that sleep: they are long enough to be killed, and leave the cores to other tests.
SMALL = ("lr=0.1,0.2", "T=1", "epochs=6", "batch=256", *IDLE)
WHOLE_KILLS = ("dispatcher",) * 3 + ("worker",) * 2 + ("command",) * 2
SMALL_KILLS = ("dispatcher", "worker")
MOST_COMMANDS = 12


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with two slots and a queue of its own; at the end nothing runs there any more."""
    for name in ("XDG_STATE_HOME", "RBP_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "RBP_CONFIG").mkdir()
    (tmp_path / "RBP_CONFIG" / "machine.toml").write_text("cpu_slots = 2\n")
    monkeypatch.setenv("RBP_RUNS", str(tmp_path / "runs"))
    yield tmp_path / "runs"
    kill_dispatcher()
    for run in run_directories(tmp_path / "runs"):
        processes.kill_all(run)


def kill_dispatcher():
    process = dispatcher()
    if process is None or process.pid is None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    return True


def kill_a_worker(runs, draw):
    training = [run for run in run_directories(runs) if judge(run).status == "running"]
    attempt = last_attempt(draw.choice(training)) if training else None
    if attempt is None or attempt.process.pid is None:
        return False
    os.kill(attempt.process.pid, signal.SIGKILL)
    return True


class Shell:
    """Terminals in which the same command is typed, again and again."""

    def __init__(self, start, words):
        self.start = start
        self.words = words
        self.live = []
        self.said = []
        self.typed = 0

    def type(self):
        self.typed += 1
        assert self.typed <= MOST_COMMANDS, self.said
        self.live.append(self.start(*self.words))

    def ended(self):
        """The exit codes of the commands that have just ended."""
        ended = [command for command in self.live if command.poll() is not None]
        self.live = [command for command in self.live if command not in ended]
        self.said += [command.communicate()[0] for command in ended]
        return [command.returncode for command in ended]


def test_a_sweep_that_is_killed_in_every_place_is_completed_by_the_same_command(machine, trials, draw, rbp, start):
    whole = trials >= 50
    count, kills = (12, [*WHOLE_KILLS]) if whole else (2, [*SMALL_KILLS])
    shell = Shell(start, ["sweep", "digits", *(WHOLE if whole else SMALL), "--name", "killed", "--no-cost"])

    def kill(kind):
        if kind == "command":
            draw.choice(shell.live).kill()
            return True
        return kill_dispatcher() if kind == "dispatcher" else kill_a_worker(machine, draw)

    draw.shuffle(kills)
    shell.type()
    shell.type()  # two people at the same moment
    codes = []
    while kills or 0 not in codes:
        if not shell.live:
            shell.type()
        if kills and any(judge(run).status == "running" for run in run_directories(machine)):
            time.sleep(draw.uniform(0.0, 3.0 if whole else 0.3))
            if kill(kills[-1]):
                kills.pop()
        time.sleep(0.05)
        codes += shell.ended()
    wait_for(lambda: not (shell.ended() or shell.live), 300.0)

    runs = list(run_directories(machine))
    summaries = [load_summary(run) for run in runs]
    assert [judge(run).status for run in runs] == ["completed"] * count
    assert len({(summary.experiment, summary.seed) for summary in summaries}) == count
    for run in runs:
        begun = Counter(event.attempt for event in events_of(run, RunStart))
        assert set(begun.values()) == {1}, (run.id, begun)
        assert all(attempt.begun for attempt in read_attempts(run))
    check_tables(lambda *words: json.loads(rbp(machine, *words, "--json").stdout), shell.words, runs)
    if whole:
        attempts = sum(newest_attempt(run) for run in runs)
        starts = (host_directory() / "dispatcher.log").read_text().count("starts on")
        print(f"\n{count} runs, {attempts} attempts, {starts} starts by dispatchers, {shell.typed} commands")


def check_tables(said, words, runs):
    """The tables of the sweep and of the report have the means of the runs' own summaries."""
    by_experiment = {}
    for run in runs:
        summary = load_summary(run)
        assert summary.last.top1 is not None
        by_experiment.setdefault(summary.experiment, []).append(summary.last.top1)
    expected = sorted(statistics.mean(values) for values in by_experiment.values())
    table = said(*words, "--status")
    assert table["counts"]["done"] == len(runs)
    assert sorted(row["last"]["mean"] for row in table["trials"]) == pytest.approx(expected)
    report = said("report", "sweep=killed")
    assert sorted(row["last"]["mean"] for row in report["rows"]) == pytest.approx(expected)
    assert sum(row["runs"] for row in report["rows"]) == len(runs)
