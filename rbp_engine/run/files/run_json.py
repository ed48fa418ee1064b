"""`run.json`: what a run is, where it comes from, and how it was asked for. Written once, with the run;
in the trash, a copy's `id` becomes its own."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Raw

from rbp_engine.codec import Count, Positive, Seconds, decode
from rbp_engine.printable import NO_TEXT, Line, one_line
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory, unreadable_refused, write_atomic, write_json


@dataclass(frozen=True)
class Resources:
    """`processes` per node, `nodes`, `rendezvous` "host:port" of the first node (several nodes only), and the `devices`
    of this host that the run may see: GPU indices in PCI order, or names of their slices (MIG); empty for all."""

    processes: Positive = 1
    nodes: Positive = 1
    rendezvous: Line = NO_TEXT
    devices: tuple[Count | Line, ...] = ()

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.processes * self.nodes


@dataclass(frozen=True)
class Dispatch:
    """How a run is started: from the queue, on the devices that `gpus` selects, or at once if that is None.

    It is restarted up to `retries` times.
    """

    gpus: Line | None = None
    retries: Count = 0


#: The layout of a run's folder, docs/format.md.
FORMAT = 1
LARGEST_DIFF = 2**20
#: Of all installed packages, those that readers ask for.
DECISIVE = ("rbp-tui", "torch", "torchvision", "spikingjelly", "numpy")

_NO_COMMANDS = tuple(
    word
    for setting in ("core.fsmonitor=false", "core.hooksPath=/dev/null", "diff.autoRefreshIndex=false")
    for word in ("-c", setting)
)
# Without a look into submodules, which have configurations of their own.
_DIFF = (
    "diff",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--ignore-submodules=dirty",
    "--submodule=short",
    "HEAD",
)
_OWN_FILTER = re.compile(r"^(?!system\b|global\b|command\b)\w+\tfilter\.", re.MULTILINE)


@dataclass(frozen=True)
class GitState:
    """The state of the repository of a run's code when it was created; `changed`: it had uncommitted changes."""

    commit: Line
    branch: Line = NO_TEXT
    changed: bool = False


@dataclass(frozen=True)
class SweepRecord:
    """The sweep that created a run, and the number of its trial, from 1: a combination of settings, over all seeds."""

    name: Line
    trial: Count = 0


@dataclass
class RunIdentity:
    """What lists say a run is; empty values are unknown.

    `label` is the preset, with the network or data set that replaced its own; `experiment` is the same for all seeds.
    `program` is the one that trains the run, by `run.track`; empty if rbp does. Such a run may have no `preset` and no
    `seed`. A fork goes on from another run, the `origin`, which was made for `origin_epochs`.
    """

    id: Line
    preset: Line = NO_TEXT
    experiment: Line = NO_TEXT
    method: Line = NO_TEXT
    timesteps: Count = 0
    seed: Count | None = None
    name: Line = NO_TEXT
    label: Line = NO_TEXT
    program: Line = NO_TEXT
    tags: list[Line] = field(default_factory=list)
    epochs: Count = 0
    origin: Line = NO_TEXT
    origin_epochs: Count = 0
    created: Seconds = field(default_factory=time.time)


@dataclass(kw_only=True)
class RunJson(RunIdentity):
    """The contents of run.json.

    `settings` are those of `preset.toml`, by section, in JSON. `resources` and `dispatch` are as the run was made; each
    attempt has its own. `packages` has the versions of DECISIVE, `source` the path of the preset; `sweep` is None for a
    run of none. A fork goes on from `origin_step` of its origin.
    """

    format: Count
    experiment: Line
    created: Seconds
    settings: Raw
    origin_step: Count = 0
    source: Line = NO_TEXT
    host: Line = NO_TEXT
    directory: Line = NO_TEXT
    command: Line = NO_TEXT
    python: Line = NO_TEXT
    packages: dict[str, Line] = field(default_factory=dict)
    git: GitState | None = None
    resources: Resources = field(default_factory=Resources)
    dispatch: Dispatch = field(default_factory=Dispatch)
    sweep: SweepRecord | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"it is of format {self.format}, and this rbp reads {FORMAT}")


NOTHING_KNOWN = RunJson(NO_TEXT, format=FORMAT, experiment=NO_TEXT, created=0.0, settings=Raw(b"{}"))


def read_run_json(run: RunDirectory) -> RunJson:
    """The contents of run.json, to be shown; NOTHING_KNOWN if it is missing, unreadable or damaged."""
    return _memo.find(run.run_json, NOTHING_KNOWN)


def load_run_json(run: RunDirectory) -> RunJson:
    """The contents of run.json, to act on. Raises RunError if it is missing, unreadable or damaged."""
    with unreadable_refused(run.run_json):
        return _memo.read(run.run_json)


def create_run_json(
    run: RunDirectory,
    command: Sequence[str],
    settings: Mapping[str, Any],
    *,
    code: Path | None = Path(),  # the working directory
    **fields: Any,
) -> None:
    """Write the file of a new run: `fields`, host, interpreter, packages, and the git state of the folder of its
    `code`, whose uncommitted changes are beside it; but none of these of a run that was not trained here, with None.

    `command` is the one that created the run.
    """
    made = {"directory": str(Path.cwd()), "command": shlex.join(command), "settings": settings}
    write_json(run.run_json, {"format": FORMAT} | fields | (_surroundings(run, code) if code else {}) | made)


def _surroundings(run: RunDirectory, code: Path) -> dict[str, Any]:
    installed = packages()
    git, diff = git_state(code)
    if diff:
        write_atomic(run.uncommitted_diff, diff)
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed[name] for name in DECISIVE if name in installed},
        "git": asdict(git) if git else None,
        "other_packages": {name: version for name, version in installed.items() if name not in DECISIVE},
    }


def packages() -> dict[str, str]:
    """Name and version of every installed package."""
    changed = []
    for folder in map(Path, sys.path):
        with contextlib.suppress(OSError):
            changed.append((str(folder), folder.stat().st_mtime_ns))
    return dict(_packages(tuple(changed)))


@functools.lru_cache(maxsize=1)
def _packages(_changed: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Read once, until a package is installed or removed: it takes longer than all else in the creation of a run."""
    known = []
    for package in importlib.metadata.distributions():
        # Not `package.metadata`, which parses the whole file, a description of many pages included.
        head = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").partition("\n\n")[0]
        name, version = (re.search(rf"^{field}: *(.*?)\s*$", head, re.MULTILINE) for field in ("Name", "Version"))
        if name is not None:
            known.append((name[1], version[1] if version is not None else ""))
    return dict(sorted(known))


def git_state(folder: Path) -> tuple[GitState | None, str]:
    """The state of the repository that contains `folder`, None if there is none, and its uncommitted changes.

    The repository may have come in an archive: no command of its configuration is executed. Git has no way to read
    files without the filters that it names, so with any of its own, the changes stay unknown, and count as some.
    """
    head = _git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
    if head is None:
        return None, ""
    commit, branch, *_ = head.split("\n")
    names = _git(folder, "config", "--list", "--show-scope", "--name-only")
    if names is None or _OWN_FILTER.search(names):
        diff = "(not known: git would execute the filters that the configuration of this repository names)\n"
    else:
        diff = _git(folder, *_DIFF) or ""
    kept = diff if len(diff) <= LARGEST_DIFF else f"({len(diff)} characters, not kept)"
    return GitState(one_line(commit), one_line(branch), bool(diff)), kept


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *_NO_COMMANDS, *words]
    environment = os.environ | {"GIT_ALLOW_PROTOCOL": "none"}  # a blob that is missing would be fetched
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, errors="replace", check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _parse(content: bytes) -> RunJson:
    found = decode(RunJson, content)
    # A copy: a view of the settings would keep the whole file in memory, and lists have thousands of runs.
    found.settings = found.settings.copy()
    return found


_memo = FileMemo(_parse)
