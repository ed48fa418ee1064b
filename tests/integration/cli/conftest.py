"""Commands as users run them: real processes, a home and a runs directory of their own."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from warm_python import WarmPopen

from rbp_engine import compile_cache
from rbp_tui.cli import main

LIVE = ("queued", "starting", "running", "stopping")
QUICK = ("digits", "T=1", "epochs=2", "batch=256")
COMMAND = [sys.executable, "-c", "from rbp_tui.cli import main; main()"]


class Rbp:
    """Runs `rbp` in a folder of its own, where ./runs is the runs directory.

    It is a fork of a process that has imported everything, and so are the processes that it starts; with `real` it is a
    Python of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.environment = compile_cache.variables() | {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }

    def __call__(self, *words: str, code: int | None = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self._end(self._start(WarmPopen, words, stdin), words, code, stdin)

    def real(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self._end(self.start_real(*words), words, code)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return self._start(WarmPopen, words)

    def start_real(self, *words: str) -> "subprocess.Popen[str]":
        return self._start(subprocess.Popen, words)

    def _start(self, popen: Any, words: tuple[str, ...], stdin: str | None = None) -> "subprocess.Popen[str]":
        process: subprocess.Popen[str] = popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return process

    @staticmethod
    def _end(
        process: "subprocess.Popen[str]", words: tuple[str, ...], code: int | None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            out, err = process.communicate(stdin, timeout=180)
        except BaseException:
            process.kill()
            raise
        done = subprocess.CompletedProcess(["rbp", *words], process.returncode, out, err)
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> object:
        return json.loads(self(*words, "--json", code=code).stdout)


class RbpHere(Rbp):
    """The same in this process, for commands that launch nothing: it spares the time of a new Python."""

    def __call__(self, *words: str, code: int | None = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
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
def rbp_here(tmp_path: Path) -> RbpHere:
    return RbpHere(tmp_path)


@pytest.fixture(scope="session")
def rbp_in() -> type[Rbp]:
    """`rbp` in a folder of one's own choice, for what several tests share."""
    return Rbp


@pytest.fixture
def rbp(tmp_path: Path) -> Iterator[Rbp]:
    """`rbp`, and no run left alive at the end."""
    command = Rbp(tmp_path)
    yield command
    if command.runs.is_dir():
        for path in command.runs.glob("*/summary.json"):
            if json.loads(path.read_text())["status"] in LIVE:
                command("kill", path.parent.name, code=None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rbp, "subprocess.CompletedProcess[str]"]:
    """A folder in which `mine`, a run of two epochs, has completed, and what `rbp train` printed. Nobody changes it."""
    command = Rbp(tmp_path_factory.mktemp("finished"))
    return command, command.real("train", *QUICK, "--id", "mine")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file
