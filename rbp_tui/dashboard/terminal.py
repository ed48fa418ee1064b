"""The terminal, which may vanish or send bytes that are no text, and the last filter before it."""

from codecs import getincrementaldecoder
from contextlib import suppress
from functools import partial
from typing import IO, Any

from rich.segment import Segment
from textual.color import Color
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter

from rbp_engine.printable import without_controls

# Textual reads UTF-8 strictly. One other byte, as in a paste of Latin-1 text, would end the application.
linux_driver.getincrementaldecoder = lambda name: partial(getincrementaldecoder(name), "replace")  # type: ignore


class TerminalDriver(LinuxDriver):
    """Textual's driver, which goes on when the terminal has vanished until the dashboard has noticed it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = _Output(self._file)


class _Output:
    """A file that drops what cannot be written. Textual writes in a thread, which an error would end; then whatever
    draws would wait for it for ever, and signals would not be heard."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.fileno = file.fileno

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


class PrintableFilter(LineFilter):
    """Takes out what a terminal would obey, for text that a widget was given without a filter.

    It has no width, so that the rest of the line stays where it is.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with printable text."""
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [Segment(without_controls(text), style, control) for text, style, control in segments]
