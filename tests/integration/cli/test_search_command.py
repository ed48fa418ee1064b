"""`rbp sweep --search` as far as it needs no training: what it shows and refuses before anything starts."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import typer

from rbp_engine.plan.driving import SearchEnd
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import plan_search
from rbp_engine.plan.trials import TrialReader
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchRequest
from rbp_tui.cli.sweep.search import SearchInterrupts

SPACE = ("lr=0.01..0.5:log", "method=bptt,rate_m")
SEARCH = ("sweep", "digits", *SPACE, "--search", "tpe")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("XDG_STATE_HOME", "RBP_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("RBP_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rbp(rbp_here):
    rbp_here.environment["COLUMNS"] = "120"
    return rbp_here


def trial(search, number):
    request = search.request_of(number, {"optim.lr": number / 10, "method.name": "bptt"})
    return launch.create(request.load(), request.options.runs, run_id=request.run_id, sweep=request.sweep)


def test_a_dry_run_shows_the_space_and_warns_that_the_test_set_decides(rbp):
    done = rbp(*SEARCH, "--trials", "7", "--dry-run", "--no-cost")
    assert "7 trials with seed 1" in done.stderr and "lr: 0.01 to 0.5, by its logarithm" in done.stderr
    assert "method: bptt, rate_m" in done.stderr and "there is no held-out split" in done.stderr
    split = rbp(*SEARCH, "train.validation_split=0.1", "--dry-run", "--no-cost")
    assert "on held-out data" in split.stderr and "no held-out split" not in split.stderr
    assert not Path("runs").exists()


def test_the_table_shows_each_trial_the_best_one_and_those_that_were_pruned(rbp):
    search = plan_search(SweepRequest(LaunchRequest("digits", SPACE), pruner="median"))
    ends = [("completed", Cause.UNKNOWN, 0.5), ("stopped", Cause.PRUNED, 0.9), ("completed", Cause.UNKNOWN, 0.75)]
    for number, (status, cause, top1) in enumerate(ends, start=1):
        run = trial(search, number)
        write_status(run, status, "median pruner" * (cause is Cause.PRUNED), cause, last=Scores(top1=top1))
    words = (*SEARCH, "--prune", "median", "--status")
    shown = rbp(*words)
    *table, legend = shown.stdout.splitlines()
    assert "▽ pruned" in legend
    assert [line.split() for line in table[1:]] == [
        ["1", "bptt", "0.1", "50.00", "–", "■1"],
        ["2", "bptt", "0.2", "–", "–", "▽1"],
        ["3", "bptt", "0.3", "75.00", "–", "■1"],
    ]
    assert "best of 2: trial 3, method=bptt lr=0.3" in shown.stderr
    document = rbp.json(*words)
    assert document["counts"] == {"completed": 2, "pruned": 1} and document["best_trial"] == 3
    assert [trial["state"] for trial in document["trials"]] == ["completed", "pruned", "completed"]
    assert document["importance"] == {} and document["held_out"] is False
    assert "▽ pruned" in rbp("show", search.run_of(2).id).stdout
    assert "pruned: median pruner" in rbp("ls").stdout
    assert "▽ pruned" in rbp("show", search.run_of(2).id, "--why").stdout


def test_a_damaged_trial_is_named_beside_the_table_of_the_others(rbp):
    search = plan_search(SweepRequest(LaunchRequest("digits", SPACE)))
    for number in (1, 2):
        run = trial(search, number)
        write_status(run, "completed", last=Scores(top1=0.5))
    run.run_json.write_text("{")
    shown = rbp(*SEARCH, "--status")
    assert "best of 1: trial 1" in shown.stderr
    assert f"trial 2 is left out: {run.id}: " in shown.stderr and "run.json is damaged" in shown.stderr
    assert list(rbp.json(*SEARCH, "--status")["left_out"]) == ["2"]


def test_a_preset_can_be_a_search(rbp, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'extends = "digits"\n[sweep]\nsearch = "tpe"\ntrials = 3\n[sweep.random]\nlr = {from = 0.1, to = 0.5}\n'
    )
    assert "mine-tpe-" in rbp("sweep", "mine.toml", "--dry-run", "--no-cost").stderr


def test_a_search_can_be_left_running_before_it_has_any_run(monkeypatch, capsys):
    request = SweepRequest(LaunchRequest("digits", SPACE))
    search = plan_search(request)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in handled]
    write, read = os.openpty()
    left = threading.Event()

    def press_l():
        while not left.wait(0.05):  # keys that came before the question answer nothing
            os.write(write, b"l")

    pressing = threading.Thread(target=press_l)
    pressing.start()
    try:
        with os.fdopen(read) as answers, pytest.raises(typer.Exit) as end:
            monkeypatch.setattr(sys, "stdin", answers)
            SearchInterrupts(search, TrialReader(search)).ask()
    finally:
        left.set()
        pressing.join()
        os.close(write)
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
    assert end.value.exit_code == 0 and "the search goes on" in capsys.readouterr().err


@pytest.mark.parametrize(("mine", "followed"), [((True,), 1), ((False, True), 2), ((False, False), 1)])
def test_more_trials_are_trained_after_a_search_for_fewer_that_goes_on(rbp, monkeypatch, mine, followed):
    starts, ends = iter(mine), []

    def follow(*_, **__):
        ends.append(SearchEnd("2 of 2 trials have ended"))
        return ends[-1]

    monkeypatch.setattr("rbp_tui.cli.sweep.search.start_driver", lambda *_: next(starts))
    monkeypatch.setattr("rbp_tui.cli.sweep.search.follow_search", follow)
    rbp(*SEARCH, "--trials", "4", "--no-cost")
    assert (len(ends), list(starts)) == (followed, [])
