"""New lines of a growing file, read by byte offset and in small pieces."""

import re
from collections.abc import Sequence
from pathlib import Path

from rbp_engine.printable import without_controls
from rbp_engine.untrusted_files import open_untrusted
from rbp_tui.text.format import size

AT_ONCE = 256 * 1024
LONGEST_LINE = 2000
# Colours and movements of the cursor, which the log of a progress bar is full of, and titles.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


class LogTail:
    """Follows one file from its end. A note replaces text that is skipped because it is too long."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._in_long_line = False  # its beginning has been returned, the rest is skipped

    def poll(self) -> list[str]:
        """The lines completed since the last call; none without a file."""
        try:
            with open_untrusted(self.path) as file:
                lines = self._skip(file.seek(0, 2))
                file.seek(self._offset)
                chunk = file.read(AT_ONCE)
        except OSError:
            return []
        return lines + self._split(chunk)

    def _skip(self, end: int) -> list[str]:
        """Skip to near the end if there is more new text than is read at once."""
        if end < self._offset:  # another file has replaced it
            self._offset, self._in_long_line = 0, False
        passed_over = end - AT_ONCE - self._offset
        if passed_over <= 0:
            return []
        self._offset += passed_over
        self._in_long_line = True  # the line cut here would only show its end
        return [f"… {size(passed_over)} not shown …"]

    def _split(self, chunk: bytes) -> list[str]:
        if self._in_long_line:
            end = chunk.find(b"\n") + 1
            self._offset += end or len(chunk)
            if not end:
                return []
            self._in_long_line = False
            chunk = chunk[end:]
        *complete, rest = chunk.split(b"\n")
        self._offset += sum(len(line) + 1 for line in complete)
        lines = [_readable(line) for line in complete]
        if len(rest) >= AT_ONCE // 2:
            self._offset += len(rest)
            self._in_long_line = True
            lines.append(f"{_readable(rest[:LONGEST_LINE])} … (a line of more than {size(len(rest))}, cut)")
        return lines


def _readable(line: bytes) -> str:
    return readable(line.decode(errors="replace"))


def readable(line: str) -> str:
    """A line as a terminal would finally show it: a progress bar in its last state."""
    text = _SEQUENCE.sub("", line.rstrip("\r").rsplit("\r", 1)[-1])
    text = "\t".join(map(without_controls, text.split("\t"))).expandtabs()
    if len(text) <= LONGEST_LINE:
        return text
    return f"{text[:LONGEST_LINE]} … ({len(text)} characters, cut)"


def without(lines: list[str], part: Sequence[str]) -> list[str]:
    """The lines with a note in place of `part`, the first time that it stands there as a whole."""
    for start in range(len(lines) - len(part) + 1) if part else ():
        if lines[start] == part[0] and tuple(lines[start : start + len(part)]) == tuple(part):
            return [*lines[:start], "… the traceback above …", *lines[start + len(part) :]]
    return lines
