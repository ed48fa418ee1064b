"""Disks that fill up: for code in this process, and for runs on a file system of their own."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status import processes
from tests.waiting import wait_for


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The operating system writes no byte of a file beyond these, meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def disk_in_memory(folder: Path) -> Iterator[Path]:
    """A file system of 16 MB; the runs that are directly in it are killed at its end."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16m", "rbp-test", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"these tests may not mount a file system: {done.stderr.strip()}")
    yield folder
    for run in folder.iterdir():
        processes.kill_all(RunDirectory(run))
    # Lazily, because a killed process may use it for a moment longer.
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)


def remount(disk: Path, how: str) -> None:
    """Give it other options: a size, or to be read-only, once nobody is writing a file there."""
    wait_for(lambda: subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=False).returncode == 0)
