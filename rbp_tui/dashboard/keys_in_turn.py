"""Keys one after the other: what a key opens takes the next one, however fast they are typed."""

import asyncio
import contextlib
import time

from textual import events, work
from textual.app import App, ScreenStackError
from textual.message_pump import MessagePump

#: The group of the workers that open a screen.
OPENING = "opening"
# What is waited for may be taken away in the meantime.
PATIENCE_S, LOOK_EVERY_S = 5.0, 0.01


class KeysInTurn(App[None]):
    """An app in which a key is handled once all that the one before it did is there.

    Textual hands keys to what has the focus as they come. Those that are typed while a dialog opens, on a busy machine
    or over a slow line, would act on the runs that lie beneath it.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # Textual's
        self._typed: asyncio.Queue[events.Key] = asyncio.Queue()
        self._turn: events.Key | None = None
        self._opened_at = 0.0  # when a screen was there that has had no key yet

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and event is not self._turn:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    @work
    async def take_keys(self) -> None:
        """Handle keys, each in its turn."""
        while True:
            self._turn = await self._typed.get()
            with contextlib.suppress(ScreenStackError):  # the app is closing
                await self._take(self._turn)

    async def _take(self, key: events.Key) -> None:
        if key.key == "enter" and key.time < self._opened_at:
            return  # of two quick Enters the second answers no question that nobody has seen
        self._opened_at, shown, others = 0.0, self.screen, set(self.workers)
        # A key goes from what has the focus up to the app, which does what it is bound to.
        path = (self.focused or self.screen).ancestors_with_self
        self.post_message(key)
        for node in (self, *path):
            await _done(node)
        await asyncio.sleep(0)  # workers begin
        opening = [one for one in self.workers if one.group == OPENING and one not in others]
        patience = time.monotonic() + PATIENCE_S
        while self.screen is shown and any(one.is_running for one in opening) and time.monotonic() < patience:
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.sleep(0)  # and those that they have begun
        await _done(self.screen)  # with its widgets and its focus
        if self.screen is not shown:
            self._opened_at = time.monotonic()


async def _done(node: MessagePump) -> None:
    """Wait until a widget has handled what it has been sent so far."""
    done = asyncio.Event()
    if node.call_later(done.set):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), PATIENCE_S)
