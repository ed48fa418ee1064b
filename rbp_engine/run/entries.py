"""What the dispatcher of this host has to do: one file for each run that waits for a device or is watched over."""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rbp_engine.run import processes
from rbp_engine.run.devices import Device, Pool
from rbp_engine.run.host import host_directory
from rbp_engine.run.layout import RunDirectory, read_json, write_atomic
from rbp_engine.run.status import last_attempt


@dataclass(frozen=True)
class Entry:
    """A run, and how to start it as whoever put it here would: interpreter, working directory and environment.

    It `takes` so many of the `devices`, none where there are none, and `threads` of the CPU with each. `after` is the
    newest attempt that does not count: the dispatcher starts the one after it. `retried` of `retries` have been used
    up, and the next start comes not before the time `not_before`.
    """

    path: Path
    run: RunDirectory
    takes: int = 0
    devices: tuple[Device, ...] = ()
    threads: int = 0
    after: int = 0
    retries: int = 0
    retried: int = 0
    not_before: float = 0.0
    python: str = sys.executable
    directory: str = "/"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def started(self) -> bool:
        """Whether the attempt that it asks for has begun."""
        return attempts_of(self.run) > self.after

    def again(self, delay_s: float) -> "Entry":
        """The entry for a restart after a fault."""
        return replace(self, after=attempts_of(self.run), retried=self.retried + 1, not_before=time.time() + delay_s)


def attempts_of(run: RunDirectory) -> int:
    """The number of the newest attempt on record, 0 for none."""
    number = last_attempt(run).get("attempt")
    return number if isinstance(number, int) else 0


def queue_directory() -> Path:
    path = host_directory() / "queue"
    path.mkdir(exist_ok=True)
    return path


def new_entry(run: RunDirectory, *, after: int, retries: int, pool: Pool | None = None, takes: int = 0) -> Entry:
    """An entry behind all others, with the interpreter, working directory and environment of this process."""
    return Entry(
        path=queue_directory() / f"{time.time_ns():020d}-{run.id}.json",
        run=RunDirectory(run.path.resolve()),
        takes=takes,
        devices=pool.devices if pool else (),
        threads=pool.threads if pool else 0,
        after=after,
        retries=retries,
        directory=str(Path.cwd()),
        environment=processes.without_marks(os.environ),
    )


def write_entry(entry: Entry) -> None:
    value = asdict(entry) | {"run": str(entry.run.path)}
    del value["path"]
    # Not in UTF-8: names of files in an environment may be in any encoding, and come back only when escaped.
    write_atomic(entry.path, json.dumps(value, indent=1) + "\n")


def entries() -> list[Entry]:
    """All of them, the first to start first. One that cannot be read is passed over."""
    if not host_directory(make=False).is_dir():
        return []
    found = (_read(path) for path in sorted(queue_directory().glob("*.json")))
    return [entry for entry in found if entry is not None]


def entry_of(run: RunDirectory, among: Iterable[Entry] | None = None) -> Entry | None:
    """The entry of a run, None if it has none."""
    path = run.path.resolve()
    return next((entry for entry in (entries() if among is None else among) if entry.run.path == path), None)


def _read(path: Path) -> Entry | None:
    value = read_json(path)
    try:
        devices = tuple(Device(**device) for device in value.pop("devices"))
        return Entry(path=path, run=RunDirectory(Path(value.pop("run"))), devices=devices, **value)
    except (KeyError, TypeError):
        return None
