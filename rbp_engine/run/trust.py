"""Whose run is it? A run of another user, or with code that this user has not launched, is read and not used.

Using is to execute, resume, stop or change it. What the user has launched or agreed to is remembered, once per content,
as a line of the file `trusted` in the user's state directory: the hash of the run's preset and code and of who owns
them. What would execute somebody else's code is

* the run's `code/`, its author's own network, neuron, data set or metrics;
* on several nodes, what answers at the run's rendezvous, since torchrun unpickles what it is sent from there.

Weights, optimizer and random states are loaded as plain data, so a run without these needs no trust if its files are
the user's own.

Whatever executes code takes a value of a type that only the gates here give: `Executable`, `Launchable` or
`TrustedPreset`. So mypy finds a way to it that passes no gate.
"""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NewType

from rbp_engine.owners import is_ours, make_private, owner_problem
from rbp_engine.preset.load import LoadedPreset
from rbp_engine.preset.own_imports import DEEPEST, MOST_FILES
from rbp_engine.run.errors import RunError, cannot
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, contents
from rbp_engine.run.files.run_json import Resources
from rbp_engine.settings.locations import state_directory

#: A run whose code this user has launched or agreed to, or that has none: it may be executed.
Executable = NewType("Executable", RunDirectory)
#: A run that may be launched, too: it is this user's, or they have agreed to use it.
Launchable = NewType("Launchable", Executable)
#: A preset whose code is the user's own, or of a run whose code they have launched or agreed to.
TrustedPreset = NewType("TrustedPreset", LoadedPreset)

TRUSTED = "trusted"
LARGEST_FILE = 2**20  # bytes, of a preset or a file of code
NAMED_FILES = 3  # in a question


class Untrusted(RunError):
    """Something is another user's or has not been launched by this one; the message says how to use it all the same."""

    def __init__(self, subject: str, why: str, key: str) -> None:
        self.why = f"{subject} {why}"
        self.key = key
        super().__init__(f"{self.why}; if you trust it, add --trust")

    def agree(self) -> None:
        """Remember that the user trusts this. Raises RunError if it cannot be written down."""
        with cannot(f"note in {_file()} that you trust it"):
            _write_down(self.key)


def require_place(folder: Path) -> None:
    """Raise Untrusted if a folder of runs, or the trash of one, is another user's, or a link that is."""
    if problem := owner_problem(folder):
        real = os.path.realpath(folder)
        _require(str(folder), problem, _hash(["place", real, problem]))


def require_own(run: RunDirectory) -> None:
    """Raise Untrusted if a run is another user's, before it is stopped, killed or removed."""
    owners = _other_owners(run)
    if owners and not _is_known(run, owners):
        raise Untrusted(run.id, _belongs(owners), _owner_key(run, owners))


def require_code(run: RunDirectory) -> Executable:
    """The gate of evaluations, exports and `load`.

    Raises Untrusted if a run has code that this user has neither launched nor agreed to.
    """
    return require_launch(run) if os.path.lexists(run.code) else Executable(run)


def require_preset(loaded: LoadedPreset) -> TrustedPreset:
    """The gate of new runs and measurements.

    Raises Untrusted if a preset names copies of code in a run, its own or its teacher's, that this user has neither
    launched nor agreed to.
    """
    for run in (loaded.run, loaded.teacher.run if loaded.teacher is not None else None):
        if run is not None:
            require_code(RunDirectory(run))
    return TrustedPreset(loaded)


def require_launch(run: RunDirectory, *, rendezvous: str = "") -> Launchable:
    """The gate of attempts of a run that is there.

    Raises Untrusted if it is another user's, or would execute what this user has not agreed to. `rendezvous` is that of
    the run's own files, empty if there is none or the user has given another.
    """
    owners, code = _other_owners(run), _code(run)
    if owners or code:
        would = f"would execute {_listed([*code])}, which you have not launched here" if code else ""
        _require(run.id, " and ".join(filter(None, [_belongs(owners), would])), _key(run, owners, code))
    if rendezvous:
        require_rendezvous(run, rendezvous)
    return Launchable(Executable(run))


def require_rendezvous(run: RunDirectory, rendezvous: str) -> None:
    """Raise Untrusted if this user has not agreed to meet other processes there."""
    _require(run.id, f"would meet other processes at {rendezvous}", _hash(["rendezvous", rendezvous]))


def remember(run: RunDirectory, resources: Resources) -> None:
    """Remember that this user launches a run with this code, and with the rendezvous of `resources`."""
    owners, code = _other_owners(run), _code(run)
    if owners or code:
        _remember(_key(run, owners, code))
    remember_rendezvous(resources)


def remember_same_code(run: RunDirectory, code: Mapping[str, bytes]) -> None:
    """Remember a run of this user's whose files of code are those that this user has asked to train, by name.

    Another node of the run may have launched it, with a state directory of its own.
    """
    asked = {f"code/{name}": hashlib.sha256(contents).hexdigest() for name, contents in code.items()}
    owners = _other_owners(run)
    if asked and not owners and _code(run) == asked:
        _remember(_key(run, owners, asked))


def remember_rendezvous(resources: Resources) -> None:
    """Remember that this user meets other processes at the rendezvous of `resources`, if there is one."""
    if rendezvous := rendezvous_of(resources):
        _remember(_hash(["rendezvous", rendezvous]))


def rendezvous_of(resources: Resources | None) -> str:
    """Where processes of other nodes are met; empty on one node."""
    return resources.rendezvous if resources is not None and resources.nodes > 1 else ""


def is_own(run: RunDirectory) -> bool:
    """Whether a run is this user's, or one of another user's that this one has agreed to use."""
    try:
        owners = _other_owners(run)
        return not owners or _is_known(run, owners)
    except RunError:  # what is in it is no run's
        return False


def _require(subject: str, why: str, key: str) -> None:
    if key not in _trusted():
        raise Untrusted(subject, why, key)


def _belongs(owners: dict[str, str]) -> str:
    """Whose the run is; "" if it is this user's."""
    if not owners:
        return ""
    name, problem = next(iter(owners.items()))
    return problem if name == "." else f"has a {name} that {problem}"


def _other_owners(run: RunDirectory) -> dict[str, str]:
    """What in a run belongs to another user, and whose it is: its folder, its identity, preset and code."""
    paths = [run.path, run.run_json, run.preset_toml, run.code]
    if run.code.is_dir() and not run.code.is_symlink():
        paths += [run.code / name for name in _entries(run)]
    return {str(path.relative_to(run.path)): problem for path in paths if (problem := owner_problem(path))}


def _entries(run: RunDirectory) -> dict[str, bool]:
    """What is in the folder of code, by path in it, and whether it is a folder. Raises RunError for too much."""
    found: dict[str, bool] = {}
    for path, at in contents(run.code):
        name = path.relative_to(run.code)
        found[str(name)] = stat.S_ISDIR(at.st_mode)
        if found[str(name)] and len(name.parts) > DEEPEST:
            raise RunError(f"{run.id}: {path} is deeper than any run's code: at most {DEEPEST} folders")
        if len(found) > (DEEPEST + 1) * MOST_FILES or len(found) - sum(found.values()) > MOST_FILES:
            raise RunError(f"{run.id}: there are more than {MOST_FILES} files in {run.code}, and no run has so many")
    return found


def _code(run: RunDirectory) -> dict[str, str]:
    """The files of code and their hashes. Raises RunError for what is no file, or too large, and if none is seen."""
    entries = _entries(run)
    folders = {".", *(name for name, is_folder in entries.items() if is_folder)}
    empty = folders - {os.path.dirname(name) or "." for name in entries}  # noqa: PTH120
    if empty and os.path.lexists(run.code):  # a cache of the folder may be older than what will be executed
        raise RunError(
            f"{run.id}: {run.code / min(empty)} seems to be empty, as no run leaves it: try again in a minute, or "
            "remove it"
        )
    return {f"code/{name}": _hash_of_file(run, run.code / name) for name in sorted(entries) if name not in folders}


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many others there are."""
    others = len(names) - NAMED_FILES
    return ", ".join(names[:NAMED_FILES]) + (f" and {others} more file{'s' * (others > 1)}" if others > 0 else "")


def _is_known(run: RunDirectory, owners: dict[str, str]) -> bool:
    """Whether the user has agreed to change this run of another user's, or even to execute what is in it."""
    return not _trusted().isdisjoint((_owner_key(run, owners), _key(run, owners)))


def _owner_key(run: RunDirectory, owners: dict[str, str]) -> str:
    """To stop or remove a run does not mean to execute its code."""
    return _hash(["owner", os.path.realpath(run.path), sorted(owners.items())])


def _key(run: RunDirectory, owners: dict[str, str], code: dict[str, str] | None = None) -> str:
    preset = _hash_of_file(run, run.preset_toml) if os.path.lexists(run.preset_toml) else ""
    return _hash(["run", preset, sorted((_code(run) if code is None else code).items()), sorted(owners.items())])


def _hash_of_file(run: RunDirectory, path: Path) -> str:
    try:
        with os.fdopen(inside.open_file(path, run.path, os.O_RDONLY), "rb") as file:
            contents = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise RunError(f"{run.id}: cannot read {error.filename}: {error.strerror}") from error
    if len(contents) > LARGEST_FILE:
        raise RunError(f"{run.id}: {path} is larger than {LARGEST_FILE} bytes")
    return hashlib.sha256(contents).hexdigest()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _file() -> Path:
    return state_directory() / TRUSTED


def _trusted() -> frozenset[str]:
    """The hashes of what is trusted; none if the file is missing, or could have been written by another user."""
    try:
        descriptor = os.open(_file(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return frozenset()
    with os.fdopen(descriptor) as file:
        found = os.fstat(descriptor)
        if not (stat.S_ISREG(found.st_mode) and is_ours(found)) or found.st_mode & 0o022:
            return frozenset()
        return frozenset(file.read().split())


def _remember(key: str) -> None:
    """Write it down if that is possible; a run can be trained all the same, and a resume will ask."""
    with contextlib.suppress(OSError):
        _write_down(key)


def _write_down(key: str) -> None:
    if key in _trusted():
        return
    path = make_private(state_directory()) / TRUSTED
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(f"{key}\n".encode())
