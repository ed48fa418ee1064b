"""The settings of this machine: where runs and data are, commands for a run's end, other hosts, saved queries.

They are not in presets but in `machine.toml` in the user's configuration directory (`$RBP_CONFIG`).
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from rbp_engine.errors import UserError
from rbp_engine.owners import make_private
from rbp_engine.settings.documents import Document, parse_document, read_document, read_text
from rbp_engine.settings.files import write_settings
from rbp_engine.settings.lines import KeyPath, dotted
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import Problem, describe_problems
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.settings.values import describe_value

_KEYS: Final = ("runs", "cache", "cpu_slots", "share_devices", "data", "hooks", "hosts", "queries")
_HOOKS: Final = ("on_end", "on_failure", "on_alert")
QUERY_NAME: Final = re.compile(r"[A-Za-z][\w-]{0,59}", re.ASCII)
QUERY_NAMES: Final = "the name of a query is a word of letters, digits, _ and -, which begins with a letter"
_HOST: Final = ("ssh", "rbp", "runs")
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
    devices that runs of other users have, and theirs for those of this user. `hosts` are other machines, and `queries`
    those that the user has saved, both by name.
    """

    runs: Path | None = None
    cache: Path | None = None
    cpu_slots: int | None = None
    share_devices: bool = True
    data: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    on_end: str = ""
    on_failure: str = ""
    on_alert: str = ""
    queries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({}))


class MachineError(UserError):
    """`machine.toml` cannot be used; `problems` has every problem found in the file `source`."""

    def __init__(self, source: Path, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return describe_problems(str(self.source), self.problems)


def machine_file() -> Path:
    """The path of `machine.toml`, which may not exist."""
    return configuration_directory() / "machine.toml"


def read_machine() -> Machine:
    """Read `machine.toml`; returns the defaults if it does not exist. Raises `MachineError` with all problems."""
    path = machine_file()
    if not os.path.lexists(path):
        return Machine()
    document = read_document(path)
    if isinstance(document, Problem):
        raise MachineError(path, [document])
    return _checked(document)


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
    return _put("data", name, str(root))


def save_query(name: str, query: str) -> Path:
    """Save a query in `machine.toml`, in the place of one of that name; keeps comments and everything else.

    Returns the written file. Raises `MachineError` for an impossible name, or a file that is broken or cannot be
    written, and then writes nothing.
    """
    if QUERY_NAME.fullmatch(name) is None:
        raise MachineError(machine_file(), [Problem(f"queries.{name}", QUERY_NAMES)])
    return _put("queries", name, query)


def _put(section: str, name: str, value: str) -> Path:
    """Set one value of a table in `machine.toml`, and return the file."""
    import tomlkit

    read_machine()
    target, problem = machine_file(), Problem(f"{section}.{name}", "could not be added here; add it by hand")
    old = read_text(target) if os.path.lexists(target) else ""
    if isinstance(old, Problem):
        raise MachineError(target, [old])
    content = tomlkit.parse(old)
    if section not in content:
        content.add(section, tomlkit.table())
    content[section][name] = value
    text = tomlkit.dumps(content)
    written = parse_document(text, target)
    if isinstance(written, Problem) or written.values.get(section, {}).get(name) != value:
        raise MachineError(target, [problem])
    _checked(written)
    try:
        write_settings(target, text.encode())
    except OSError as error:
        raise MachineError(target, [Problem("", f"cannot be written: {error.strerror}")]) from error
    return target


def _checked(document: Document) -> Machine:
    check = _Check(document)
    check.known_keys((), document.values, _KEYS)
    hooks = check.table("hooks")
    check.known_keys(("hooks",), hooks, _HOOKS)
    folders = {name: check.folder(("data", name), value) for name, value in check.table("data").items()}
    machine = Machine(
        runs=check.folder(("runs",), document.values.get("runs")),
        cache=check.folder(("cache",), document.values.get("cache")),
        cpu_slots=check.count(("cpu_slots",), document.values.get("cpu_slots")),
        share_devices=check.flag(("share_devices",), document.values.get("share_devices", True)),
        data=MappingProxyType({name: folder for name, folder in folders.items() if folder is not None}),
        on_end=check.command(("hooks", "on_end"), hooks.get("on_end", "")),
        on_failure=check.command(("hooks", "on_failure"), hooks.get("on_failure", "")),
        on_alert=check.command(("hooks", "on_alert"), hooks.get("on_alert", "")),
        queries=MappingProxyType({name: check.query(name, value) for name, value in check.table("queries").items()}),
        hosts=MappingProxyType({name: check.host(name, value) for name, value in check.table("hosts").items()}),
    )
    if check.problems:
        raise MachineError(document.path, sorted(check.problems, key=lambda problem: problem.line or 0))
    return machine


class _Check:
    """Collects the problems of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def refuse(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(dotted(path), message, self.document.lines.get(path)))

    def known_keys(self, parent: KeyPath, table: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                guess = did_you_mean(key, known) or f" Known here: {', '.join(known)}"
                self.refuse((*parent, key), f"unknown key.{guess}")

    def table(self, key: str) -> dict[str, Any]:
        value = self.document.values.get(key, {})
        if isinstance(value, dict):
            return value
        self.refuse((key,), f"expected a table, got {describe_value(value)}")
        return {}

    def host(self, name: str, value: object) -> Host:
        path: KeyPath = ("hosts", name)
        if not isinstance(value, dict):
            self.refuse(path, f'expected a table, as [hosts.{name}] with ssh = "…", got {describe_value(value)}')
            return Host(name, name)
        self.known_keys(path, value, _HOST)
        ssh = value.get("ssh", name)
        if not isinstance(ssh, str) or not _DESTINATION.fullmatch(ssh):
            self.refuse((*path, "ssh"), f"expected what ssh takes, as user@host, got {describe_value(ssh)}")
        known = {}
        for key, example in (("rbp", "~/venv/bin/rbp"), ("runs", "/data/runs")):
            word = value.get(key, "")
            if not isinstance(word, str) or not word.isprintable() or word.startswith("-"):
                self.refuse((*path, key), f"expected a path there, as {example}, got {describe_value(word)}")
            known[key] = word if isinstance(word, str) else ""
        return Host(name, str(ssh), known["rbp"] or "rbp", known["runs"])

    def folder(self, path: KeyPath, value: object) -> Path | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(path, f"expected the path of a folder as a string, got {describe_value(value)}")
            return None
        if "\0" in value:
            self.refuse(path, f"no path has a NUL character, got {describe_value(value)}")
            return None
        folder = Path(os.path.expanduser(value))  # noqa: PTH111  # pathlib raises for an unknown ~user
        # A relative path would mean a different folder in each working directory.
        if not folder.is_absolute():
            self.refuse(path, f"expected an absolute path, or one from ~, got {describe_value(value)}")
            return None
        return folder

    def count(self, path: KeyPath, value: object) -> int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SLOTS):
            return value
        self.refuse(path, f"expected a whole number from 1 to {_MOST_SLOTS}, got {describe_value(value)}")
        return None

    def query(self, name: str, value: object) -> str:
        if QUERY_NAME.fullmatch(name) is None:
            self.refuse(("queries", name), QUERY_NAMES)
        if isinstance(value, str) and value.isprintable():
            return value
        self.refuse(("queries", name), f"expected a query as a string of one line, got {describe_value(value)}")
        return ""

    def flag(self, path: KeyPath, value: object) -> bool:
        if isinstance(value, bool):
            return value
        self.refuse(path, f"expected true or false, got {describe_value(value)}")
        return True

    def command(self, path: KeyPath, value: object) -> str:
        if isinstance(value, str) and "\0" not in value:
            return value
        expected = "no command has a NUL character" if isinstance(value, str) else "expected a command as a string"
        self.refuse(path, f"{expected}, got {describe_value(value)}")
        return ""
