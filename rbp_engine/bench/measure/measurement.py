"""Measure in a child process, on a temporary run and with the environment that the launcher gives a worker."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rbp_engine import child
from rbp_engine.child import Progress
from rbp_engine.preset import LoadedPreset
from rbp_engine.run import trust
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.launch.environment import module_command, worker_defaults
from rbp_engine.run.status import processes
from rbp_engine.run.teacher import with_teacher
from rbp_engine.settings.machine import runs_directory


@contextlib.contextmanager
def temporary_run(loaded: LoadedPreset) -> Iterator[trust.Executable]:
    """A temporary run folder outside any runs directory, with preset and user's code; removed at the end.

    Its processes are killed at the end, too. Raises RunError if the folder for temporary files cannot be written,
    and Untrusted for code of a run that this user has not launched. A teacher of the preset is looked for in the user's
    runs directory.
    """
    if loaded.preset.loss.distill:
        loaded = with_teacher(loaded, runs_directory(None))
    trusted = trust.require_preset(loaded)
    with tempfile.TemporaryDirectory(prefix="rbp-", ignore_cleanup_errors=True) as folder:
        run = launch.create(trusted, Path(folder))
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


def ask(module: str, run: trust.Executable, *words: str, **settings: Any) -> dict[str, Any]:
    """What a measuring module answers about a run; the settings are those of `Child`. Raises ChildError."""
    return child.ask(command(module, run, *words), environment(run), **settings)


def answer(run: RunDirectory, measure: Callable[[RunDirectory, Progress], dict[str, Any]]) -> int:
    """What a measuring module does: print the result of `measure`, or the problem; returns the exit code."""
    return child.answer(lambda progress: measure(run, progress), run.code)
