"""Hooks: commands of machine.toml that are run when a run has ended; what is told of alerts is in test_alert_watch."""

import sys
from pathlib import Path
from subprocess import Popen

import pytest

from rbp_engine import os_process
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.queue.entries import new_entry, write_entry
from rbp_engine.run.queue.hooks import run_hooks
from rbp_engine.run.status.status import Verdict, judge
from tests.full_disk import files_of_at_most
from tests.run_files import contents
from tests.waiting import wait_for


def test_a_hook_executes_nothing_that_came_with_a_run(make_run, tmp_path, monkeypatch):
    """Python imports what it finds where it starts; `tensorboard` is also the name of a folder that runs have."""
    command = f"{sys.executable} -c 'import tensorboard.planted'; echo in $RBP_RUN_DIR"
    home_of_hooks(tmp_path, monkeypatch, command)
    run = make_run("job")
    planted = run.tensorboard / "planted.py"
    planted.parent.mkdir(exist_ok=True)
    planted.write_text("print('executed')")
    run_hooks(run, "hook-1", Verdict("completed", ""), ["on_end"])
    said = (run.control / "hook-1").read_text()
    assert "executed\n" not in said and "No module named 'tensorboard" in said and said.endswith(f"in {run.path}\n")


def test_hooks_run_in_the_home_or_if_others_may_write_into_it_in_the_state(make_run, tmp_path, monkeypatch):
    home = home_of_hooks(tmp_path, monkeypatch, "pwd")
    run = make_run("job")
    for attempt, (mode, folder) in enumerate([(0o700, home), (0o777, tmp_path / "state" / "rbp")]):
        home.chmod(mode)
        run_hooks(run, f"hook-{attempt}", Verdict("completed", ""), ["on_end"])
        assert (run.control / f"hook-{attempt}").read_text() == f"on_end: pwd\n{folder}\n"


def home_of_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_end: str) -> Path:
    """A home directory, and settings with this hook."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text(f'[hooks]\non_end = "{on_end}"\n')
    return home


def test_hooks_run_also_if_their_output_can_go_nowhere(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("[hooks]\non_failure = 'echo full && mkdir \"$RBP_RUN_DIR/told\"'\n")
    full, locked_out = make_run("full"), make_run("locked_out")
    locked_out.control.rmdir()
    for run in (full, locked_out):
        with files_of_at_most(0):
            run_hooks(run, "hook-1", Verdict("failed", "no space is left", Cause.DISK), ["on_end", "on_failure"])
        assert (run.path / "told").is_dir()


def test_a_hook_that_fails_changes_nothing_of_its_run(make_run, tmp_path, monkeypatch):
    home_of_hooks(tmp_path, monkeypatch, "exit 3")
    run = make_run("job", status="completed")
    before = contents(run.path)
    run_hooks(run, "hook-1", judge(run), ["on_end"])
    assert contents(run.path) == before | {"control/hook-1": b"on_end: exit 3\nexit code 3\n"}


@pytest.mark.parametrize(("asked", "hooks"), [(False, ["on_end", "on_failure"]), (True, ["on_end"])])
def test_a_run_that_its_user_kills_has_not_failed(make_run, ended_pid, tmp_path, monkeypatch, asked, hooks):
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    (tmp_path / "machine.toml").write_text("share_devices = false\n")  # whatever others train here
    run = make_run("job", status="killed", attempt={"pid": ended_pid})
    if asked:
        run.kill_request.touch()
    write_entry(new_entry(run, Asked(dispatch=Dispatch("none"))))
    told = []
    monkeypatch.setattr(dispatcher, "_helper", lambda entry, module, *words: told.append(words) or Popen(["true"]))
    dispatcher.Dispatcher().look()
    assert [list(words[5:]) for words in told] == [hooks]


def test_a_hanging_hook_is_killed_with_all_its_processes(make_run, tmp_path, monkeypatch):
    home_of_hooks(tmp_path, monkeypatch, "sleep 1000 & echo $!; wait")
    run = make_run("job")
    run_hooks(run, "hook-1", Verdict("completed", ""), ["on_end"], patience_s=2.0)
    output = (run.control / "hook-1").read_text()
    assert "it took longer than" in output
    pid = int(output.splitlines()[1])
    wait_for(lambda: os_process.of(pid).started is None)
