"""The terminal as Textual drives it, which may vanish, and may send bytes that are no text."""

from codecs import getincrementaldecoder
from contextlib import suppress
from functools import partial
from typing import IO, Any

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

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
