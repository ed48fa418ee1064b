"""`rbp train --id … --resume-or-start`, also for a run that another process has just started."""

import json
import threading

import pytest
from idle import IDLE
from typer.testing import CliRunner

from rbp_engine.preset import load_preset
from rbp_engine.run.files.attempts import newest_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_tui.cli import app
from tests.run_files import change_summary, write_attempt


def test_it_starts_resumes_and_leaves_a_complete_run_alone(rbp):
    job = ("train", "digits", "T=1", "epochs=8", "batch=256", *IDLE, "--id", "night-1", "--resume-or-start")
    rbp.environment["IDLE_STEP_S"] = "0.5"  # `rbp stop` has half a minute
    first = rbp.start(*job)
    rbp.wait_for_step()
    rbp("stop", "night-1")
    assert first.wait(60) == 4
    del rbp.environment["IDLE_STEP_S"]
    stopped_at = rbp.summary()["step"]
    rbp(*job)
    assert rbp.summary()["status"] == "completed"
    assert rbp.summary()["step"] > stopped_at
    assert newest_attempt(RunDirectory(rbp.runs / "night-1")) == 2
    rbp(*job)
    assert newest_attempt(RunDirectory(rbp.runs / "night-1")) == 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The run `night` in training, with this process as its worker."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    run = launch.create(load_preset("digits"), tmp_path / "runs", run_id="night")
    write_attempt(run)
    change_summary(run, status="running")
    return run


def train(run, *words):
    return CliRunner().invoke(app, ["train", "digits", "--id", "night", *words, "--runs-dir", str(run.path.parent)])


def test_it_succeeds_if_another_process_runs_the_run(run, monkeypatch):
    monkeypatch.setattr("rbp_engine.run.start.PATIENCE_S", 0.0)  # so that it does not wait
    done = train(run, "--resume-or-start")
    assert done.exit_code == 0 and "night is running already" in done.stderr and done.stdout == ""
    detached = train(run, "--resume-or-start", "--detach")
    assert detached.exit_code == 0 and detached.stdout == "night\n"
    assert [path.name for path in run.attempts.iterdir()] == ["1.json"]


def test_the_id_of_a_run_that_is_complete_is_printed_as_of_any_other(run):
    change_summary(run, status="completed")
    done = train(run, "--resume-or-start", "--detach")
    assert (done.exit_code, done.stdout) == (0, "night\n") and "is complete already" in done.stderr
    assert "starting" not in done.stderr
    assert json.loads(train(run, "--resume-or-start", "--detach", "--json").stdout)["status"] == "completed"


def test_it_succeeds_if_the_run_completes_in_another_process(run):
    threading.Timer(0.5, change_summary, (run,), {"status": "completed"}).start()
    done = train(run, "--resume-or-start")
    # On a busy machine it has completed before the command looks, which then says so in other words.
    assert done.exit_code == 0 and "is complete" in done.stderr
