"""Reads the events of a file, whole or as they are written."""

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import Body, CheckpointSaved, Event, from_json, supersede
from rbp_engine.run.files.layout import CHECKPOINT, RunDirectory
from rbp_engine.untrusted_files import described, open_untrusted

READ_AT_ONCE = 2**17
LONGEST_LINE = 2**22  # bytes; a longer line is not an event


class EventReader:
    """Follows one events file by its byte offset; an incomplete last line is left for a later call.

    With `kinds`, lines of other kinds are not parsed. `behind`: the last call left something to read. `skipped_lines`
    counts the lines that were not events: damaged, of another version, or too long.
    """

    def __init__(self, path: Path, kinds: Collection[type[Body]] = ()) -> None:
        self.path = path
        self.behind = False
        self.skipped_lines = 0
        self._kinds = [f'"{kind.kind}"'.encode() for kind in kinds]
        self._offset = 0  # after the last complete line: a resuming writer replaces a torn one
        self._in_long_line = False

    def poll(self) -> list[Event]:
        """The events written since the last call; none if the file does not exist (yet)."""
        return [*self.stream()]

    def stream(self) -> Iterator[Event]:
        """The same, as they are read."""
        yield from self.poll_some()
        while self.behind:
            yield from self.poll_some()

    def poll_some(self) -> list[Event]:
        """The next events: those in the next READ_AT_ONCE bytes of the file."""
        lines = self._next_lines()
        if self._kinds:
            lines = [line for line in lines if any(kind in line for kind in self._kinds)]
        events = _events(lines)
        self.skipped_lines += len(lines) - len(events)
        return events

    def poll_lines(self) -> list[bytes]:
        """The complete lines written since the last call, unparsed, as far as the file can be read."""
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            lines += self._next_lines()
            while self.behind:
                lines += self._next_lines()
        return lines

    def _next_lines(self) -> list[bytes]:
        """The complete lines in the next READ_AT_ONCE bytes of the file; skips a line longer than LONGEST_LINE."""
        self.behind = False
        try:
            found = self.path.stat()
            if found.st_size == self._offset and stat.S_ISREG(found.st_mode):
                return []  # nothing new, as most times that a file is looked at
            with open_untrusted(self.path) as file:
                size = file.seek(0, os.SEEK_END)
                if size < self._offset:  # a torn line was cut off
                    self._offset, self._in_long_line = size, False
                file.seek(self._offset)
                chunk = file.read(READ_AT_ONCE)
                if len(chunk) == READ_AT_ONCE and b"\n" not in chunk:
                    chunk += file.read(LONGEST_LINE - READ_AT_ONCE)
        except (FileNotFoundError, NotADirectoryError):
            return []
        self.behind = self._offset + len(chunk) < size
        end = chunk.rfind(b"\n") + 1
        if not end:
            if len(chunk) == LONGEST_LINE:
                self._offset += len(chunk)
                self._in_long_line = True
            return []
        self._offset += end
        lines = chunk[: end - 1].split(b"\n")
        if self._in_long_line:
            del lines[0]
            self.skipped_lines += 1
            self._in_long_line = False
        return lines


def read_events(path: Path, kinds: Collection[type[Body]] = ()) -> list[Event]:
    """All events of a file, or those of some kinds, without those that a later attempt has superseded.

    Raises RunError if the file cannot be read; one that is missing has none.
    """
    try:
        return supersede(EventReader(path, kinds).poll())
    except OSError as error:
        raise RunError(f"events cannot be read: {described(error)}") from error


def read_last_events(path: Path, size: int = 256 * 1024) -> list[Event]:
    """`read_events` of the last `size` bytes of a file; none if it cannot be read."""
    try:
        with open_untrusted(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return supersede(_events(file.read().split(b"\n")))
    except OSError:
        return []


def announced_checkpoint(run: RunDirectory) -> str | None:
    """The name of the newest checkpoint that the run has reported, which may not be seen (yet); None if there is none.

    Raises RunError if the events cannot be read.
    """
    for read in (read_last_events, read_events):
        saved = [event.body.name for event in read(run.events()) if isinstance(event.body, CheckpointSaved)]
        if names := list(filter(CHECKPOINT.fullmatch, saved)):
            return names[-1]
    return None


def _events(lines: list[bytes]) -> list[Event]:
    return [event for event in map(from_json, lines) if event is not None]
