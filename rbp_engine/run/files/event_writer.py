"""Appends events to the file of one rank."""

import os
import threading
import time
from pathlib import Path

from rbp_engine.run.files import inside
from rbp_engine.run.files.events import Body, Event, to_json

READ_AT_ONCE = 2**17


class EventWriter:
    """Appends the events of one rank, a line at a time, from any thread. First cuts off a torn last line.

    Neither the file nor its folder may be a link.

    Raises OSError if a line cannot be written whole, for instance on a full disk; no part of it is left in the file.
    """

    def __init__(self, path: Path, attempt: int, rank: int = 0) -> None:
        self.attempt = attempt
        self.rank = rank
        self._lock = threading.Lock()
        with inside.folder(path.parent, path.parents[1], make=True) as folder:
            self._file = folder.open(path.name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._seq = _mend(self._file)
            folder.sync()

    def write(self, body: Body, step: int, now: float | None = None) -> Event:
        with self._lock:
            event = Event(self._seq, time.time() if now is None else now, self.attempt, self.rank, step, body)
            line = (to_json(event) + "\n").encode()
            size = os.fstat(self._file).st_size
            try:
                written = os.write(self._file, line)
                if written < len(line):
                    raise OSError(28, "No space left on device")
            except OSError:
                os.ftruncate(self._file, size)
                raise
            self._seq += 1
            return event

    def sync(self) -> None:
        """Flush everything written so far to the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _mend(file: int) -> int:
    """Cut off a torn last line and return the number of the next line."""
    lines = size = whole = 0
    os.lseek(file, 0, os.SEEK_SET)
    while chunk := os.read(file, READ_AT_ONCE):
        lines += chunk.count(b"\n")
        if end := chunk.rfind(b"\n") + 1:
            whole = size + end
        size += len(chunk)
    if whole < size:
        os.ftruncate(file, whole)
    return lines
