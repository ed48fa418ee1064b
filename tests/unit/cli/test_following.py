"""The end of a run that is being followed, and Ctrl-C to the command that follows it."""

import shutil
import signal
import sys
import threading
import time

import pytest

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import Verdict
from rbp_tui.cli.train import following
from rbp_tui.cli.train.interrupts import AskUser, Interrupts
from rbp_tui.cli.train.views import View


def test_a_folder_whose_files_disappear_first_is_reported_as_gone(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()  # its run.json has been removed already

    def remove():
        time.sleep(0.3)
        shutil.rmtree(run.path)

    thread = threading.Thread(target=remove)
    thread.start()
    (verdict,) = following.follow([run], View())
    thread.join()
    assert (verdict.status, verdict.reason) == ("lost", f"its folder {run.path} is gone")


def test_the_command_that_follows_a_run_has_the_whole_chosen_id_and_says_where_it_is(tmp_path, write_run, capsys):
    following.report_start(write_run(tmp_path, "my-run"), as_json=False)
    assert f"rbp watch my-run --runs-dir {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict("completed", ""), 0),
        (Verdict("stopped", "", Cause.REQUEST), 4),
        (Verdict("preempted", ""), 5),
        (Verdict("killed", "", Cause.REQUEST), 1),
        (Verdict("failed", "", Cause.UNKNOWN), 1),
        (Verdict("failed", "", Cause.DATA), 3),
    ],
)
def test_the_exit_code_of_a_run_says_how_it_ended(verdict, code):
    assert following.exit_code(verdict) == code


@pytest.fixture
def interrupts(monkeypatch):
    """Those of a command at a terminal, without a queue."""
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in handled}
    made = Interrupts([])
    made.dispatcher_called_at = float("inf")
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_schedulers_signal_reaches_the_worker_once(interrupts, write_run, tmp_path, monkeypatch, number):
    sent = []
    monkeypatch.setattr("rbp_tui.cli.train.interrupts.signal_ranks", lambda *words: sent.append(words) or True)
    interrupts.runs = [write_run(tmp_path, "job", status="running")]
    signal.raise_signal(number)
    interrupts.tick()
    assert sent == [(interrupts.runs[0], number)]


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_asks_however_often_it_is_pressed_before_the_question(interrupts, times):
    interrupts.tick()
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(AskUser):
        interrupts.tick()
