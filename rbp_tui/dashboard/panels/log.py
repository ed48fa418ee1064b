"""The log of a run, followed by byte offset."""

from pathlib import Path

from textual.widgets import Log

from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.logs import log_files

LINES_KEPT = 2000
AT_ONCE = 256 * 1024
LONGEST_LINE = 2000


class LogPane(Log):
    """stdout and stderr of rank 0; it follows the end unless it is scrolled up. A long log is read from its end."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, max_lines=LINES_KEPT, highlight=False)
        self.run: RunDirectory | None = None
        self._offsets: dict[Path, int] = {}

    def on_mount(self) -> None:
        self.set_interval(0.3, self._read)

    def follow(self, run: RunDirectory | None) -> None:
        """Show the log of another run from its end."""
        if run == self.run:
            return
        self.run = run
        self.clear()
        self._offsets = {}
        if run is not None:
            for path in log_files(run):
                size = path.stat().st_size if path.is_file() else 0
                self._offsets[path] = max(0, size - AT_ONCE)
        self._read()

    def _read(self) -> None:
        for path, offset in self._offsets.items():
            try:
                with path.open("rb") as file:
                    file.seek(offset)
                    chunk = file.read(AT_ONCE)
            except OSError:
                continue  # not there yet, or the run was removed
            end = chunk.rfind(b"\n") + 1
            if not end and len(chunk) == AT_ONCE:
                end = len(chunk)  # a line that never ends is shown in pieces
            if end:
                self._offsets[path] = offset + end
                text = chunk[:end].decode(errors="replace")
                self.write_lines(line[:LONGEST_LINE] for line in text.splitlines())
