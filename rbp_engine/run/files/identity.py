"""Where a run comes from: host, versions, git state. Written to `run.json` once, when the run is created."""

import importlib.metadata
import platform
import shlex
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LARGEST_DIFF = 2**20


def identity(command: Sequence[str]) -> dict[str, Any]:
    """Host, interpreter, packages, git state of the working directory, and the command that created the run."""
    return {
        "host": socket.gethostname(),
        "directory": str(Path.cwd()),
        "command": shlex.join(command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        "git": git_state(Path.cwd()),
    }


def packages() -> dict[str, str]:
    """Name and version of every installed package."""
    return dict(
        sorted((dist.name, dist.version) for dist in importlib.metadata.distributions() if dist.name is not None)
    )


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and uncommitted diff of the repository that contains `folder`; None if there is none."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "HEAD") or ""
    return {
        "commit": commit.strip(),
        "branch": (_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "diff": diff if len(diff) <= LARGEST_DIFF else f"({len(diff)} characters, not kept)",
    }


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, errors="replace", check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
