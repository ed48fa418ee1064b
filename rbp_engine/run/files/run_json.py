"""`run.json`: where a run comes from, how it is started, its attempts, and the faults that it was restarted after.

Created with the run; each start adds an attempt. The file may be damaged or come from elsewhere: entries and fields
that do not fit are left out when it is read, text becomes printable, and both stay in it when it is written again.
"""

import contextlib
import fcntl
import functools
import importlib.metadata
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.os_process import Alive, Process
from rbp_engine.printable import NO_TEXT, Line, Lines, one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.json_fields import fields_of, fitting_fields, process_in
from rbp_engine.run.files.layout import (
    RunDirectory,
    checked_object,
    load_json,
    read_json,
    unreadable_refused,
    write_json,
)
from rbp_engine.run.files.resources import Dispatch, Resources, resources_in

LARGEST_DIFF = 2**20
# Those who change the file need some milliseconds.
LOCK_PATIENCE_S = 2.0
# Of the packages in the file, which are all that were installed, those that a reader asks for.
VERSIONS_READ = ("rbp-tui", "torch", "torchvision", "spikingjelly", "numpy")


@dataclass(frozen=True)
class GitState:
    """The state of the repository in which a run was created; `changed`: it had uncommitted changes."""

    commit: Line
    branch: Line = NO_TEXT
    changed: bool = False


@dataclass(frozen=True)
class AttemptRecord:
    """The start of an attempt: its process (the launcher of several), and when that was (`t`, epoch seconds).

    `stderr_from` is where its part of stderr begins, in bytes. `environment` has the variables of its worker on which
    its last bits may depend; empty in older runs.
    """

    attempt: int
    process: Process = field(default_factory=Process)
    t: float | None = None
    world_size: int = 1
    nodes: int = 1
    stderr_from: int = 0
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FaultRecord:
    """How an attempt ended after which the run was restarted."""

    attempt: int
    status: str = ""
    cause: str = ""
    reason: Lines = NO_TEXT
    t: float | None = None


@dataclass(frozen=True)
class SweepRecord:
    """The sweep that created a run, and the number of its trial, from 1: a combination of settings, over all seeds."""

    name: Line
    trial: int = 0


@dataclass(frozen=True)
class ExtensionRecord:
    """A run that was made for `epochs_before` was given `epochs`, which it trains for from `step` on."""

    epochs_before: int = 0
    epochs: int = 0
    step: int = 0
    t: float | None = None


@dataclass(frozen=True)
class RunJson:
    """The contents of run.json. Empty values are unknown; `dispatch_problem` says what is wrong with its dispatch.

    `packages` has the versions of VERSIONS_READ, `source` the path of the preset; `sweep` is None for a run of none.
    """

    id: Line = NO_TEXT
    preset: Line = NO_TEXT
    source: Line = NO_TEXT
    experiment: Line = NO_TEXT
    host: Line = NO_TEXT
    directory: Line = NO_TEXT
    command: Line = NO_TEXT
    python: Line = NO_TEXT
    packages: dict[str, Line] = field(default_factory=dict)
    git: GitState | None = None
    resources: Resources = field(default_factory=Resources)
    dispatch: Dispatch = field(default_factory=Dispatch)
    dispatch_problem: Line = NO_TEXT
    sweep: SweepRecord | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    faults: tuple[FaultRecord, ...] = ()
    extensions: tuple[ExtensionRecord, ...] = ()

    @property
    def last_attempt(self) -> AttemptRecord | None:
        """The newest attempt; None if none was started."""
        return self.attempts[-1] if self.attempts else None

    @property
    def attempt(self) -> int:
        """The number of the newest attempt, 0 for none."""
        return self.attempts[-1].attempt if self.attempts else 0


def read_run_json(run: RunDirectory) -> RunJson:
    """The contents of run.json, to be shown; empty if it is missing, unreadable or damaged."""
    try:
        return load_run_json(run)
    except RunError:
        return RunJson()


def load_run_json(run: RunDirectory) -> RunJson:
    """The contents of run.json, to act on; empty if it is missing. Raises RunError if it is unreadable or damaged."""
    with unreadable_refused(run.run_json):
        try:
            return _memo.read(run.run_json)
        except FileNotFoundError:
            return RunJson()


def last_attempt(run: RunDirectory) -> AttemptRecord | None:
    """The newest attempt in run.json; None if none was started."""
    return read_run_json(run).last_attempt


def read_dispatch(run: RunDirectory) -> Dispatch:
    """The dispatch in run.json. Raises RunError if it is invalid, or the file unreadable."""
    known = load_run_json(run)
    if known.dispatch_problem:
        raise RunError(
            f'{run.id} cannot be started as it was: "dispatch" in {run.run_json} is damaged '
            f"({known.dispatch_problem}); remove it, and the run starts at once"
        )
    return known.dispatch


def create_run_json(run: RunDirectory, command: Sequence[str], **fields: Any) -> None:
    """Write the file of a new run: `fields`, host, interpreter, packages, and the git state of the working directory.

    `command` is the one that created the run.
    """
    here = {
        "host": socket.gethostname(),
        "directory": str(Path.cwd()),
        "command": shlex.join(command),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages(),
        "git": git_state(Path.cwd()),
    }
    write_json(run.run_json, fields | here | {"attempts": []})


def update_run_json(run: RunDirectory, **fields: Any) -> None:
    """Replace fields of the file, and keep the others as they are. Raises RunError if the file is unreadable."""
    with _only_writer(run):
        write_json(run.run_json, load_json(run.run_json) | fields)
    _memo.forget(run.run_json)


def add_fault(run: RunDirectory, fault: FaultRecord) -> None:
    """Add the fault after which a run is restarted."""
    _append(run, "faults", asdict(fault))


def add_extension(run: RunDirectory, extension: ExtensionRecord) -> None:
    """Add that a run is trained longer than it was made for."""
    _append(run, "extensions", asdict(extension))


def leave_to_worker(run: RunDirectory, attempt: AttemptRecord, resources: Resources) -> None:
    """Write the record of an attempt into its claim, still without its process.

    If the starter is killed before it can write run.json, the worker does, see `record_unless_started`.
    """
    claim = run.claim(attempt.attempt)
    record = asdict(attempt) | {"resources": resources.as_json()}
    write_json(claim, load_json(claim) | {"record": record}, below=run.path)


def record_attempt(run: RunDirectory, attempt: AttemptRecord, resources: Resources, pid: int) -> None:
    """Add an attempt with its resources to run.json; `pid` is that of the worker, or of the launcher of several."""
    started = replace(attempt, process=os_process.of(pid))
    _append(run, "attempts", asdict(started), resources=resources.as_json())


def record_unless_started(run: RunDirectory, number: int, pid: int) -> bool:
    """Record an attempt if its starter has died without doing so.

    False while the starter may still do it, or the file is unreadable.
    """
    try:
        if load_run_json(run).attempt == number:
            return True
    except RunError:
        return False
    claim = read_json(run.claim(number))
    if os_process.is_alive(process_in(claim)) is Alive.YES:
        return False
    record = claim.get("record")
    if isinstance(record, dict):
        record_attempt(run, AttemptRecord(**_fitting(AttemptRecord, record)), resources_in(record), pid)
    return True


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


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and uncommitted diff of the repository that contains `folder`; None if there is none."""
    head = _git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD")
    if head is None:
        return None
    commit, branch = head.splitlines()
    diff = _git(folder, "diff", "HEAD") or ""
    return {
        "commit": commit,
        "branch": branch,
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


def _append(run: RunDirectory, name: str, entry: dict[str, Any], **fields: Any) -> None:
    """Append an entry to a list of the file, and replace other fields. Raises RunError if the file is unreadable."""
    with _only_writer(run):
        described = load_json(run.run_json)
        entries = found if isinstance(found := described.get(name), list) else []
        write_json(run.run_json, described | fields | {name: [*entries, entry]})
    _memo.forget(run.run_json)


@contextlib.contextmanager
def _only_writer(run: RunDirectory) -> Iterator[None]:
    """Keep others from changing the file between a read and the write that depends on it, where there are such locks.

    Whoever can read the folder can hold the lock, so nobody waits for it long.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            control = held.enter_context(inside.folder(run.control, run.path))
            deadline = time.monotonic() + LOCK_PATIENCE_S
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(control.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.005)
        yield


_READ_APART = {"git", "packages", "resources", "dispatch", "sweep", "attempts", "faults", "extensions"}


def _parse(content: bytes) -> RunJson:
    value = checked_object(content)
    git, installed = value.get("git"), value.get("packages")
    # Of the packages there are hundreds, of which few are asked for.
    known: dict[str, Any] = fitting_fields(RunJson, {name: value[name] for name in value.keys() - _READ_APART})
    if isinstance(git, dict) and isinstance(commit := git.get("commit"), str):
        known["git"] = GitState(one_line(commit), one_line(str(git.get("branch") or "")), bool(git.get("diff")))
    if isinstance(installed, dict):
        versions = {name: installed.get(name) for name in VERSIONS_READ}
        known["packages"] = {name: one_line(version) for name, version in versions.items() if isinstance(version, str)}
    known["resources"] = resources_in(value)
    try:
        known["dispatch"] = Dispatch(**fields_of(Dispatch, value.get("dispatch", {})))
    except ValueError as error:
        known["dispatch_problem"] = one_line(str(error))
    sweep = value.get("sweep")
    if isinstance(sweep, dict) and "name" in (fitting := fitting_fields(SweepRecord, sweep)):
        known["sweep"] = SweepRecord(**fitting)
    known["attempts"] = tuple(_records(AttemptRecord, value.get("attempts"), "attempt"))
    known["faults"] = tuple(_records(FaultRecord, value.get("faults"), "attempt"))
    known["extensions"] = tuple(_records(ExtensionRecord, value.get("extensions"), "epochs"))
    return RunJson(**known)


def _records(kind: Any, value: Any, needed: str) -> list[Any]:
    """The entries of a list that have the field `needed`, as records of this kind."""
    entries = value if isinstance(value, list) else []
    fitting = [_fitting(kind, entry) for entry in entries if isinstance(entry, dict)]
    return [kind(**entry) for entry in fitting if needed in entry]


def _fitting(kind: Any, entry: dict[str, Any]) -> dict[str, Any]:
    found = fitting_fields(kind, entry)
    return found | {"process": process_in(entry.get("process"))} if kind is AttemptRecord else found


_memo = FileMemo(_parse)
