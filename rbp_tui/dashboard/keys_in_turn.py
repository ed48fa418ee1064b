"""Keys one after the other: what a key opens takes the next one, however fast they are typed."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from textual import events, work
from textual.app import ScreenStackError
from textual.message_pump import MessagePump

from rbp_tui.dashboard.answered import Answered
from rbp_tui.dashboard.textual_faults import LastingApp

#: The group of the workers that open a screen.
OPENING = "opening"
# What is waited for may be taken away in the meantime.
PATIENCE_S, LOOK_EVERY_S = 5.0, 0.01


class KeysInTurn(LastingApp):
    """An app in which a key is handled once all that the one before it did is there.

    Textual hands keys to what has the focus as they come. Those that are typed while a dialog opens, on a busy machine
    or over a slow line, would act on the runs that lie beneath it; those for a table that is still being read, on none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._typed: asyncio.Queue[events.Key] = asyncio.Queue()
        self._turn: events.Key | None = None

    def ready_for(self, key: str) -> bool:
        """Whether what is shown has all that this key may act on."""
        return not isinstance(self.screen, Answered) or self.screen.seen_at < float("inf")

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and event is not self._turn:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    @work
    async def take_keys(self) -> None:
        """Handle keys, each in its turn."""
        while True:
            before, self._turn = self._turn, await self._typed.get()
            with contextlib.suppress(ScreenStackError):  # the app is closing
                await self._take(self._turn, before)

    async def _take(self, key: events.Key, before: events.Key | None) -> None:
        if not self.ready_for(key.key):
            await _until(lambda: self.ready_for(key.key))
            await _done(self, self.screen)  # with its focus
        twice = before is not None and before.key == key.key == "enter"
        if twice and isinstance(self.screen, Answered) and key.time < self.screen.seen_at:
            return  # of two quick Enters the second answers no question that nobody has seen
        shown, others = self.screen, set(self.workers)
        # A key goes from what has the focus up to the app, which does what it is bound to.
        path = (self.focused or self.screen).ancestors_with_self
        self.post_message(key)
        await _done(self, *path)
        await asyncio.sleep(0)  # workers begin
        opening = [one for one in self.workers if one.group == OPENING and one not in others]
        await _until(lambda: self.screen is not shown or not any(one.is_running for one in opening))
        await asyncio.sleep(0)  # and those that they have begun
        await _done(self.screen)  # with its widgets and its focus


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until this holds, but no longer than patience lasts."""
    end = time.monotonic() + PATIENCE_S
    while not holds() and time.monotonic() < end:
        await asyncio.sleep(LOOK_EVERY_S)


async def _done(*nodes: MessagePump) -> None:
    """Wait until each of these widgets in turn has handled what it has been sent so far."""
    for node in nodes:
        done = asyncio.Event()
        if node.call_later(done.set):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), PATIENCE_S)
