"""Run a measurement in a separate process, with the environment that the launcher gives a worker."""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.environment import module_command, worker_defaults
from rbp_engine.run.status import processes
from rbp_engine.run.teacher import require_trust, with_teacher
from rbp_engine.settings.machine import runs_directory

LOOK_EVERY_S = 0.2

#: Called with what is measured next, in words, and the share of the whole that is done, by the usual durations.
OnProgress = Callable[[str, float], None]


def no_progress(doing: str, share: float) -> None:
    """Tell nobody."""


class MeasurementError(UserError):
    """A measurement could not be made; the message says why."""

    exit_code = 1


@contextlib.contextmanager
def temporary_run(loaded: LoadedPreset) -> Iterator[RunDirectory]:
    """A temporary run folder outside any runs directory, with preset and user's code; removed at the end.

    Its processes are killed at the end, too. Raises RunError if the folder for temporary files cannot be written.
    A teacher of the preset is looked for in the user's runs directory.
    """
    if loaded.preset.loss.distill:
        loaded = with_teacher(loaded, runs_directory(None))
        require_trust(loaded)
    with tempfile.TemporaryDirectory(prefix="rbp-", ignore_cleanup_errors=True) as folder:
        run = launch.create(loaded, Path(folder))
        try:
            yield run
        finally:
            processes.kill_all(run)


def environment(run: RunDirectory) -> dict[str, str]:
    """The environment of a worker: its defaults, overridden by that of this process, and the run's marker."""
    return worker_defaults() | os.environ | processes.marker(run)


def command(module: str, run: RunDirectory, *words: str) -> list[str]:
    """The command line of a measuring module."""
    return module_command(module, str(run.path.resolve()), *words)


def ask(
    module: str,
    run: RunDirectory,
    *words: str,
    cancelled: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """What a measuring module answers about a run; see `answer_of`."""
    return answer_of(
        command(module, run, *words),
        environment(run),
        cancelled=cancelled,
        quiet=quiet,
        on_progress=on_progress,
    )


def answer_of(
    words: Sequence[str],
    variables: Mapping[str, str],
    *,
    what: str = "the measurement",
    cancelled: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    on_progress: OnProgress = no_progress,
) -> dict[str, Any]:
    """The JSON object that a command prints on stdout; its `problem`, if there is one, becomes a MeasurementError.

    `variables` are its environment, and `what` is it called in errors. `cancelled` is polled for whether to give up,
    which raises one, too. With `quiet` no other output of the process reaches the terminal, which may be showing the
    dashboard.
    """
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said if quiet else None,
            env=variables,
            # Ctrl-C goes only to the calling process, which ends this one.
            start_new_session=True,
        )
        answer = ""
        try:
            for line in _lines(child, cancelled, what):
                if progress := _progress(line):
                    on_progress(*progress)
                else:
                    answer = line
            child.wait()
        finally:
            child.kill()
            child.communicate()
        try:
            return read_answer(answer)
        except ValueError:
            said.seek(0)
            output = said.read().decode(errors="replace") if quiet else None
            raise MeasurementError(describe_exit(child.returncode, output, what)) from None


def _lines(child: subprocess.Popen[bytes], cancelled: Callable[[], bool], what: str) -> Iterator[str]:
    """The lines that a process prints on stdout. Raises MeasurementError once `cancelled`, which is polled."""
    assert child.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(LOOK_EVERY_S):
                chunk = os.read(child.stdout.fileno(), 2**16)
                *lines, pending = (pending + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
                if not chunk:
                    return
            if cancelled():
                raise MeasurementError(f"{what} was given up")


def _progress(line: str) -> tuple[str, float] | None:
    """What a line says is measured next, and the share that is done; None if it does not."""
    try:
        value = json.loads(line)
        return str(value["doing"]), float(value["share"])
    except (ValueError, KeyError, TypeError):
        return None


def read_answer(text: str) -> dict[str, Any]:
    """The JSON object that a process has printed. Raises MeasurementError for a `problem`, ValueError if it is none."""
    answer: dict[str, Any] = json.loads(text)
    if problem := answer.get("problem"):
        raise MeasurementError(problem)
    return answer


def describe_exit(code: int, output: str | None = None, what: str = "the measurement") -> str:
    """Why a process has not answered, from its exit code and its `output`; None if that went to stderr."""
    if code == -9:
        return f"{what} was killed, probably because the memory was full: try a smaller batch"
    if output is None:
        return f"{what} ended with exit code {code}; what it said stands above"
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
    return f"{what} ended with exit code {code}: {last}"
