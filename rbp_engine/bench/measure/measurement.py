"""A measurement in a process of its own, in the environment in which the launcher starts a worker."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_engine.errors import UserError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.environment import module_command, worker_defaults
from rbp_engine.run.status import processes

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset

LOOK_EVERY_S = 0.2


class MeasurementError(UserError):
    """A measurement could not be made; the message says why."""

    exit_code = 1


class Cancelled(MeasurementError):
    """Whoever asked for a measurement no longer wants it."""


@contextlib.contextmanager
def temporary_run(loaded: "LoadedPreset") -> Iterator[RunDirectory]:
    """The folder of a run, preset and own code in it, in no runs directory; at the end it goes, and its processes.

    Raises RunError where nothing can be written to the folder for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="rbp-", ignore_cleanup_errors=True) as folder:
        run = launch.create(loaded, Path(folder))
        try:
            yield run
        finally:
            processes.kill_all(run)


def environment(run: RunDirectory) -> dict[str, str]:
    """That of a worker: its defaults, this process's own settings before them, and the run's marker."""
    return worker_defaults() | os.environ | processes.marker(run)


def command(module: str, run: RunDirectory, *words: str) -> list[str]:
    """The command line of a module that measures."""
    return module_command(module, str(run.path.resolve()), *words)


def ask(
    module: str,
    run: RunDirectory,
    *words: str,
    cancelled: Callable[[], bool] = lambda: False,
    quiet: bool = False,
) -> dict[str, Any]:
    """What the module says on stdout, an object in JSON; its `problem`, if it has one, becomes a MeasurementError.

    `cancelled` is asked now and then whether to give up; then Cancelled is raised. With `quiet` nothing that the
    process says besides reaches the terminal, on which there may be a picture.
    """
    child = subprocess.Popen(
        command(module, run, *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        errors="replace",
        env=environment(run),
        # Ctrl-C is for the process that asked, which ends this one.
        start_new_session=True,
    )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, said = child.communicate(timeout=LOOK_EVERY_S)
                break
            if cancelled():
                raise Cancelled("the measurement was given up")
    finally:
        child.kill()
        child.wait()
    return _answer(out, child.returncode, said)


def _answer(out: str, code: int, said: str | None) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError:
        raise MeasurementError(how_it_ended(code, said)) from None
    if problem := answer.get("problem"):
        raise MeasurementError(problem)
    return answer


def how_it_ended(code: int, said: str | None = None) -> str:
    """Why a process has not answered, from its exit code and from what it `said`; None where that is on stderr."""
    if code == -9:
        return "the measurement was killed, probably because the memory was full: try a smaller batch"
    if said is None:
        return f"the measurement ended with exit code {code}; what it said stands above"
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return f"the measurement ended with exit code {code}: {last}"
