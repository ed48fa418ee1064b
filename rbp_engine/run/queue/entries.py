"""The work of this host's dispatcher: one file for each run that waits for a device or is being monitored."""

import glob
import json
import os
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rbp_engine.codec import Count, Integer, Seconds, convert_verbatim
from rbp_engine.owners import make_private
from rbp_engine.run.files.attempts import Asked, is_there
from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import RunDirectory, checked_object, write_atomic
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.host_lock import host_directory, usable
from rbp_engine.run.status import processes
from rbp_engine.untrusted_files import NotAFile, TooLarge

QUEUE = "queue"


@dataclass(frozen=True)
class Entry(Asked):
    """A run, and how to start it as the user who queued it would: interpreter, working directory and environment.

    `device` is its preset's `run.device`. `after` is the newest attempt before this entry: the dispatcher starts the
    next one. `retried` of the retries are used up; the next start is not before the time `not_before` (seconds since
    the epoch). `name` is that of its file.

    `claimed` are the devices that are the run's until this entry is gone, with `threads` CPU threads for each. Only the
    dispatcher gives any.

    Entries of a lower `place`, a time in nanoseconds, come first.
    """

    name: str
    run: RunDirectory
    dispatch: Dispatch = field(kw_only=True)  # never a default: a run without devices would start at once
    device: str = "auto"
    after: Count = 0
    retried: Count = 0
    not_before: Seconds = 0.0
    python: str = sys.executable
    directory: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    place: Integer = 0
    claimed: tuple[Device, ...] = ()
    threads: Count = 0

    @property
    def takes(self) -> int:
        """How many of the devices that it may have here and now it takes; 0 if it waits for none."""
        return 0 if self.dispatch.gpus is None else self.resources.processes

    @property
    def path(self) -> Path:
        return host_directory(make=False) / QUEUE / self.name

    @property
    def order(self) -> tuple[int, str]:
        """Sorts entries: the first is the first to start."""
        return self.place, self.name


@dataclass(frozen=True)
class DamagedEntry:
    """An entry that is invalid, or `unread` for now, and the reason `why`; `id` is that of its run, from its name."""

    path: Path
    id: str
    why: str
    unread: bool = False


def queue_directory() -> Path:
    return make_private(host_directory() / QUEUE)


def new_entry(run: RunDirectory, asked: Asked, **fields: Any) -> Entry:
    """An entry behind all others, with the interpreter, working directory and environment of this process.

    `fields` are others of it.
    """
    run = RunDirectory(run.path.resolve())
    before = (_read(Path(one.path)) for one in reversed(_files()))
    last = next((entry.place for entry in before if isinstance(entry, Entry)), 0)
    place = max(time.time_ns(), last + 1)  # the clock may have been set back since
    return Entry(
        name=f"{place:020d}-{run.id}.json",
        run=run,
        directory=str(Path.cwd()),
        environment=processes.without_marks(os.environ),
        place=place,
        **vars(asked),
        **fields,
    )


def write_entry(entry: Entry) -> None:
    """Write the file of an entry, in the place of an earlier one. Raises RunError."""
    value = asdict(entry) | {"run": str(entry.run.path)}
    del value["name"]
    # ASCII with escapes, not UTF-8: file names in an environment may have any encoding, which only escapes preserve.
    with usable(entry.path):
        write_atomic(queue_directory() / entry.name, json.dumps(value, indent=1) + "\n")
    _memo.forget(entry.path)


def read_queue() -> tuple[list[Entry], list[DamagedEntry]]:
    """The valid entries, the first to start first, and the others: their runs are not started, nor waited for."""
    read = [_read(Path(one.path)) for one in _files()]
    valid = [entry for entry in read if isinstance(entry, Entry)]
    return sorted(valid, key=lambda entry: entry.order), [one for one in read if isinstance(one, DamagedEntry)]


def entries() -> list[Entry]:
    """The valid entries, the first to start first."""
    return read_queue()[0]


def has_entries() -> bool:
    """Whether there is an entry that is valid, or may be; reads no more files than it must."""
    found = (_read(Path(one.path)) for one in _files())
    return any(one.unread if isinstance(one, DamagedEntry) else one is not None for one in found)


def entries_of(runs: Collection[RunDirectory]) -> list[Entry]:
    """The entries of these runs, as far as they have one; reads only files that have a run's id in their names."""
    paths = {run.path.resolve() for run in runs}
    ids = {path.name for path in paths}
    found = [_read(Path(one.path)) for one in _files() if _id_in(one.name) in ids]
    return [entry for entry in found if isinstance(entry, Entry) and entry.run.path in paths]


def entry_of(run: RunDirectory) -> Entry | None:
    """The entry of a run, None if it has none."""
    return next(iter(entries_of([run])), None)


def entries_elsewhere(run: RunDirectory | None = None) -> list[tuple[Path, RunDirectory]]:
    """The files of entries in the queues of other hosts, or of this one under an earlier name, and their runs.

    Only those of `run`, if it is given. Hosts are those that share the state directory.
    """
    here = host_directory(make=False)
    named = "*" if run is None else f"*-{glob.escape(run.path.resolve().name)}"
    files = [path for path in sorted(here.parent.glob(f"*/{QUEUE}/{named}.json")) if path.parent.parent != here]
    found = [(path, entry.run) for path in files if isinstance(entry := _read(path), Entry)]
    return [one for one in found if run is None or one[1].path == run.path.resolve()]


def holders(known: Iterable[Entry]) -> dict[str, Entry]:
    """Whose each device is, by its key."""
    return {device.key: entry for entry in known for device in entry.claimed}


def _files() -> list[os.DirEntry[str]]:
    """The files of the queue, in the order of their names. Raises RunError."""
    with usable(host_directory(make=False)):
        if not is_there(host_directory(make=False)):
            return []
        with os.scandir(queue_directory()) as found:
            return sorted((one for one in found if one.name.endswith(".json")), key=lambda one: one.name)


def _id_in(name: str) -> str:
    """The id of a run in the name of its file."""
    return name.removesuffix(".json").partition("-")[2]


def _read(path: Path) -> Entry | DamagedEntry | None:
    """The entry in a file, which is read again only once it has changed; None if it has just been removed."""
    try:
        return replace(_memo.read(path), name=path.name)
    except FileNotFoundError:
        return None
    except OSError as error:
        unread = not isinstance(error, (NotAFile, TooLarge))
        return DamagedEntry(path, _id_in(path.name), error.strerror or "", unread)
    except ValueError as error:
        return DamagedEntry(path, _id_in(path.name), str(error))


def _parse(content: bytes) -> Entry:
    """The entry in a JSON text, without its name. Raises ValueError with what is missing or invalid."""
    value = checked_object(content)
    entry = convert_verbatim(Entry, value | {"name": "", "run": {"path": value.get("run")}})
    words = [str(name) for device in entry.claimed for name in (device.key, device.name)]
    words += [str(entry.run.path), entry.python, entry.directory, *entry.environment, *entry.environment.values()]
    if unfit := [word for word in words if b"\0" in os.fsencode(word)]:
        raise ValueError(f"{unfit[0]!r:.40} can be no path, argument or variable of a process")
    if any("=" in variable for variable in entry.environment):
        raise ValueError("a variable of its environment has a name with =")
    return entry


_memo = FileMemo(_parse)
