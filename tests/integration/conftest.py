"""Commands as users run them: real processes, with their own home and runs directory."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rbp_engine import compile_cache
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli import main
from tests.run_files import recorded
from tests.waiting import wait_for

LIVE = ("queued", "starting", "running", "stopping")
QUICK = ("digits", "T=1", "epochs=2", "batch=256")
COMMAND = [sys.executable, "-c", "from rbp_tui.cli import main; main()"]


class Rbp:
    """Runs `rbp` in one folder, where ./runs is the runs directory."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = folder / "runs"
        self.environment = compile_cache.variables() | {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def __call__(self, *words, code=0, stdin=None):
        done = self.python(*COMMAND[1:], *words, input=stdin, timeout=180)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def python(self, *words, **options):
        """A Python in the folder that has ended."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.run([sys.executable, *words], cwd=self.folder, env=self.environment, **options)

    def start(self, *words):
        return subprocess.Popen(
            [*COMMAND, *words], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code).stdout)

    def summaries(self):
        return [recorded(path.parent) for path in self.runs.glob("[!.]*/summary.json")]

    def summary(self, run_id=None):
        """The summary of a run, or of the only one."""
        (found,) = self.summaries() if run_id is None else [recorded(self.runs / run_id)]
        return found

    def events(self, run_id):
        return [json.loads(line) for line in RunDirectory(self.runs / run_id).events().read_text().splitlines()]

    def wait_for_step(self, run_id=None):
        """Wait until a run trains, or any."""
        wait_for(lambda: any(one["step"] > 0 for one in self.summaries() if run_id in (None, one["id"])))


class RbpHere(Rbp):
    """The same in this process, for commands that launch nothing: it saves the start of a new Python."""

    def __call__(self, *words, code=0, stdin=None):
        assert stdin is None, "nobody is asked here"
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["rbp", *words])
            patch.setattr(sys, "stdin", io.StringIO())
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                main()
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
        done = subprocess.CompletedProcess(["rbp", *words], left.value.code or 0, *texts)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done


@pytest.fixture
def rbp_here(tmp_path):
    return RbpHere(tmp_path)


@pytest.fixture(scope="session")
def rbp_in():
    """`rbp` in a given folder, for files that several tests share."""
    return Rbp


@pytest.fixture
def rbp(tmp_path):
    """`rbp`; kills the runs that are still alive at the end."""
    command = Rbp(tmp_path)
    yield command
    if command.runs.is_dir():
        for path in command.runs.glob("[!.]*/summary.json"):
            if json.loads(path.read_text())["status"] in LIVE:
                command("stop", "--now", path.parent.name, code=None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with `mine`, a completed run of two epochs, and the output of `rbp train`. Tests must not change it."""
    command = Rbp(tmp_path_factory.mktemp("finished"))
    return command, command("train", *QUICK, "--id", "mine")


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file
