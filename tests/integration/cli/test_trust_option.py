"""`--trust`, and the question at a terminal, before code of a run is executed that was not launched here."""

import os
import sys
from contextlib import closing

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from tests.run_files import create_own
from tests.terminal import Terminal

REFUSED = "own would execute code/nets.py, which you have not launched here"


@pytest.fixture
def unpacked(rbp, tmp_path, monkeypatch):
    """A run with code, made by somebody else, without a checkpoint; its code leaves a file when it is executed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "their-state"))
    return create_own(tmp_path, rbp.runs, f"open({str(tmp_path / 'trace')!r}, 'w')\nclass Net:\n    pass\n").path


def answered(rbp, answer, *words):
    """The exit code and the output of `rbp` at a terminal, where `answer` is typed."""
    command = [sys.executable, "-c", "from rbp_tui.cli import main; main()", *words]
    with closing(Terminal(command, rbp.environment | {"TERM": "dumb"}, rbp.folder)) as terminal:
        os.write(terminal.master, f"{answer}\n".encode())
        terminal.read_until(terminal.ended)
        terminal.read()
        return terminal.process.returncode, " ".join(terminal.output.decode().split())


def test_without_a_terminal_it_is_refused_and_at_one_the_user_is_asked(rbp, unpacked):
    for command in (("eval",), ("export", "nir"), ("resume",)):
        assert f"error {REFUSED}; if you trust it, add --trust" in rbp(*command, "own", code=2).stderr
    code, seen = answered(rbp, "n", "eval", "own")
    assert code == 2
    assert f"{REFUSED} Do you trust it? [y/N]:" in seen
    assert not (unpacked.parents[1] / "trace").exists()
    code, seen = answered(rbp, "y", "eval", "own")
    assert (code, "own has no checkpoint of its last weights" in seen) == (1, True)


def test_a_resume_with_settings_that_it_refuses_asks_for_no_trust(rbp, unpacked):
    assert "error lr=0.5 cannot change when a run goes on" in rbp("resume", "own", "lr=0.5", code=2).stderr
    write_status(RunDirectory(unpacked), "stopped")
    assert "error own has no checkpoint to go on from" in rbp("resume", "own", "epochs=400", code=2).stderr
    (unpacked / "checkpoints" / "step-00000010").mkdir(parents=True)
    assert REFUSED in rbp("resume", "own", "epochs=400", code=2).stderr
    assert [path.name for path in unpacked.parent.iterdir()] == ["own"]


def test_trust_says_so_without_a_terminal_and_for_good(rbp, unpacked):
    assert "own has no checkpoint" in rbp("eval", "own", "--trust", code=1).stderr
    assert "own has no checkpoint" in answered(rbp, "n", "eval", "own")[1]  # nobody is asked again
