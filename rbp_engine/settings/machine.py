"""The settings of this machine: where runs and data are, commands for a run's end, other hosts.

They are not in presets but in `machine.toml` in the user's configuration directory (`$RBP_CONFIG`).
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rbp_engine.errors import UserError
from rbp_engine.owners import make_private
from rbp_engine.settings.documents import Document, KeyPath, dotted, parse_document, read_document, read_text, usable
from rbp_engine.settings.files import write_settings
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import Problem, SettingsFileError
from rbp_engine.settings.spelling import describe_value, did_you_mean, is_count

# ssh takes a word that begins with - for an option.
_DESTINATION: Final = re.compile(r"[^-\s\x00-\x1f\x7f][^\s\x00-\x1f\x7f]{0,254}")
# Each slot has a claim file, and a place in lists.
_MOST_SLOTS: Final = 1024


@dataclass(frozen=True)
class Host:
    """Another machine with rbp, reached by ssh: the destination, its rbp, and its runs directory there ("": its own).

    `rbp` and `runs` are words for its shell; they may begin with ~/.
    """

    name: str
    ssh: str
    rbp: str = "rbp"
    runs: str = ""


@dataclass(frozen=True)
class Machine:
    """The settings of this machine; unset ones are None or empty.

    `data` maps the name of a data set to its folder. `on_end`, `on_failure` and `on_alert` are shell commands.
    `cpu_slots` is how many runs share the CPU at a time, at most 1024. With `share_devices`, the queue waits for
    devices that runs of other users have, and theirs for those of this user. `hosts` are other machines, by name.
    """

    runs: Path | None = None
    cache: Path | None = None
    cpu_slots: int | None = None
    share_devices: bool = True
    data: Mapping[str, Path] = field(default_factory=dict)
    on_end: str = ""
    on_failure: str = ""
    on_alert: str = ""
    hosts: Mapping[str, Host] = field(default_factory=dict)


class MachineError(SettingsFileError):
    """`machine.toml` cannot be used."""


def machine_file() -> Path:
    """The path of `machine.toml`, which may not exist."""
    return configuration_directory() / "machine.toml"


def read_machine() -> Machine:
    """Read `machine.toml`; returns the defaults if it does not exist. Raises `MachineError` with all problems."""
    path = machine_file()
    if not os.path.lexists(path):
        return Machine()
    return _checked(usable(read_document(path), MachineError, path))


def runs_directory(explicit: Path | None = None) -> Path:
    """The runs directory, absolute: `explicit` (--runs-dir), `$RBP_RUNS`, `machine.toml` or `./runs`."""
    if explicit is not None:
        return explicit.absolute()
    chosen = os.environ.get("RBP_RUNS")
    return Path(chosen).absolute() if chosen else read_machine().runs or Path("runs").absolute()


def find_host(name: str) -> Host:
    """The host of this name in `machine.toml`, else a destination of ssh. Raises UserError if it can be neither."""
    host = read_machine().hosts.get(name) or Host(name, name)
    if not _DESTINATION.fullmatch(host.ssh):
        raise UserError(f"no host can be called {describe_value(name)}: a name of machine.toml, or what ssh takes")
    return host


def cache_directory() -> Path:
    """The folder for downloads and converted data: `cache` of `machine.toml`, else the user's cache directory."""
    return read_machine().cache or _users_cache()


def made_cache_directory() -> Path:
    """`cache_directory`, to write into. The user's is made private; one of `machine.toml` may be for several users."""
    path = cache_directory()
    if path == _users_cache():
        with contextlib.suppress(OSError):  # what is there already may be read all the same
            make_private(path)
    return path


def _users_cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("rbp"))


def add_data_root(name: str, path: Path) -> Path:
    """Set the folder of data set `name` in `machine.toml` to `path`, keeping comments and everything else.

    Returns the written file. Raises `MachineError` if the folder does not exist or the file is broken or cannot be
    written, and then writes nothing.
    """
    root = path.absolute()
    if not root.is_dir():
        raise MachineError(machine_file(), [Problem(f"data.{name}", f"no such folder: {root}")])
    import tomlkit

    read_machine()
    target = machine_file()
    old = read_text(target) if os.path.lexists(target) else ""
    content = tomlkit.parse(usable(old, MachineError, target))
    content.setdefault("data", tomlkit.table())[name] = str(root)
    text = tomlkit.dumps(content)
    _checked(usable(parse_document(text, target), MachineError, target))
    try:
        write_settings(target, text.encode())
    except OSError as error:
        raise MachineError(target, [Problem("", f"cannot be written: {error.strerror}")]) from error
    return target


def _checked(document: Document) -> Machine:
    problems: list[Problem] = []

    def refuse(path: KeyPath, message: str) -> None:
        problems.append(Problem(dotted(path), message, document.line(path)))

    found = _read((), document.values, _SETTINGS, refuse)
    hooks, hosts = found.pop("hooks", {}), found.pop("hosts", {})
    for name, host in hosts.items():
        if "ssh" not in host and not _DESTINATION.fullmatch(name):
            refuse(("hosts", name, "ssh"), f"expected what ssh takes, as user@host, got {describe_value(name)}")
    if problems:
        raise MachineError(document.path, sorted(problems, key=lambda problem: problem.line or 0))
    known = {name: Host(name, **{"ssh": name} | host) for name, host in hosts.items()}
    return Machine(**found, **hooks, hosts=known)


@dataclass(frozen=True)
class _Kind:
    """What a value has to be, in words, and what reads it; that returns None for anything else."""

    expected: str
    read: Callable[[Any], Any]


def _read(path: KeyPath, value: object, expected: Any, refuse: Callable[[KeyPath, str], None]) -> Any:
    """The value of a kind, or a table of such. None for one that is refused; a table is without these."""
    if isinstance(expected, _Kind):
        read = expected.read(value)
        if read is None:
            refuse(path, f"expected {expected.expected}, got {describe_value(value)}")
        return read
    if not isinstance(value, dict):
        example = f', as [hosts.{path[1]}] with ssh = "…"' if path[0] == "hosts" and len(path) > 1 else ""
        refuse(path, f"expected a table{example}, got {describe_value(value)}")
        return {}
    found = {}
    for key, inner in value.items():
        if (each := expected.get(key, expected.get(_ANY))) is None:
            guess = did_you_mean(key, list(expected)) or f" Known here: {', '.join(expected)}"
            refuse((*path, key), f"unknown key.{guess}")
        elif (read := _read((*path, key), inner, each, refuse)) is not None:
            found[key] = read
    return found


def _folder(value: object) -> Path | None:
    if not isinstance(value, str) or "\0" in value:
        return None
    folder = Path(os.path.expanduser(value))  # noqa: PTH111  # pathlib raises for an unknown ~user
    # A relative path would mean a different folder in each working directory.
    return folder if folder.is_absolute() else None


def _there(value: object) -> str | None:
    is_path = isinstance(value, str) and value != "" and value.isprintable() and not value.startswith("-")
    return str(value) if is_path else None


_FOLDER: Final = _Kind("an absolute path, or one from ~, as a string", _folder)
_COMMAND: Final = _Kind(
    "a command as a string, without NUL characters",
    lambda value: value if isinstance(value, str) and "\0" not in value else None,
)
_ANY: Final = "*"
#: What each key is, or in a table of the user's names any key.
_SETTINGS: Final = {
    "runs": _FOLDER,
    "cache": _FOLDER,
    "cpu_slots": _Kind(
        f"a whole number from 1 to {_MOST_SLOTS}", lambda value: value if is_count(value, _MOST_SLOTS) else None
    ),
    "share_devices": _Kind("true or false", lambda value: value if isinstance(value, bool) else None),
    "data": {_ANY: _FOLDER},
    "hooks": {"on_end": _COMMAND, "on_failure": _COMMAND, "on_alert": _COMMAND},
    "hosts": {
        _ANY: {
            "ssh": _Kind(
                "what ssh takes, as user@host",
                lambda value: value if isinstance(value, str) and _DESTINATION.fullmatch(value) else None,
            ),
            "rbp": _Kind("a path there, as ~/venv/bin/rbp", _there),
            "runs": _Kind("a path there, as /data/runs", _there),
        },
    },
}
