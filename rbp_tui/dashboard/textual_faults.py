"""Where Textual 8.2 would end the dashboard, and what prevents it. A newer one may need less of it."""

from codecs import getincrementaldecoder
from contextlib import suppress
from functools import partial
from typing import IO, Any

from textual import events
from textual.app import App, ScreenStackError
from textual.command import CommandList, CommandPalette
from textual.css.query import NoMatches
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.errors import NoWidget
from textual.screen import Screen
from textual.worker import WorkerFailed

from rbp_engine.printable import LONGEST_NAME, one_line

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


class LastingApp(App[None]):
    """Textual's app, which goes on where there is no fault of ours."""

    def __init__(self) -> None:
        super().__init__(driver_class=TerminalDriver)

    def _handle_exception(self, error: Exception) -> None:
        """Textual takes the widgets away while screens are still being made, or search in them: when the dashboard is
        being left, that is no fault.
        """
        cause = error.error if isinstance(error, WorkerFailed) else error
        left = self._exit or not self.is_running
        if not (left and isinstance(cause, (NoMatches, ScreenStackError))):
            super()._handle_exception(error)

    async def on_event(self, event: events.Event) -> None:
        # A press fails on what was removed and is still drawn: on a message that has just gone.
        if not (isinstance(event, events.MouseDown) and not event.is_forwarded and self._was_removed(event)):
            await super().on_event(event)

    def _was_removed(self, event: events.MouseDown) -> bool:
        """Whether what the mouse points at is no longer there."""
        try:
            widget, _ = self.get_widget_at(event.x, event.y)
        except NoWidget:
            return False
        return not isinstance(widget, Screen) and widget.parent is None


class Palette(CommandPalette):
    """Finds every action, run and preset by name.

    The commands exist before their list is drawn, and until then the list has no lines to page through. Textual looks
    for the lines anyway and ends with a KeyError. It goes on collecting commands after it was closed, when the list
    is gone, and ends with a NoMatches.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ignore the keys that move in the list until it has lines."""
        if action == "command_list" and not self.query_one(CommandList).scrollable_content_region:
            return False
        return super().check_action(action, parameters)

    def _watch__list_visible(self) -> None:
        if self.query(CommandList):
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        if self.query(CommandList):
            await super()._watch__show_busy()


def literal(text: str) -> str:
    """A text as markup that shows just this text: Textual takes the title and the help of a command for markup.

    Every bracket is escaped: `textual.markup.escape` leaves some, as in `b/[/`.
    """
    return one_line(text, LONGEST_NAME).replace("[", "\\[")
