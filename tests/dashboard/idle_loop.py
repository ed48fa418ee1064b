"""When a dashboard is idle: by what its event loop still has to do, not by the CPU time of its process.

Textual's pilot takes an application for idle whose process got no CPU time for 20 ms. On a busy machine such a process
may just wait for its turn, with keys unread and widgets not laid out. Nor is a dashboard idle in which a key waits for
what a thread reads.
"""

import asyncio
import selectors
import time

import textual.app
import textual.pilot

from rbp_tui.dashboard import keys_in_turn

FRAME = 1 / 50  # seconds, longer than one of Textual's
LITTLE = FRAME / 20  # seconds: what idle threads take of a frame
LONGEST = 10.0  # seconds, for a screen that never rests


class LoopWatch:
    """Counts how often an event loop had nothing left to do but wait."""

    def __init__(self):
        self.rests = 0
        self.waiting = 0  # keys
        self._select = selectors.DefaultSelector.select

    def select(self, selector, timeout=None):
        """Wait as before; a loop with callbacks to run asks with a timeout of 0."""
        self.rests += timeout is None or timeout > 0
        return self._select(selector, timeout)

    def counting(self, until):
        """A wait of keys, counted."""

        async def wait(holds):
            self.waiting += 1
            try:
                await until(holds)
            finally:
                self.waiting -= 1

        return wait

    async def wait_for_idle(self, *_):
        """Let frames pass until one leaves the loop nothing to do, with little done in other threads."""
        start = time.monotonic()
        while time.monotonic() - start < LONGEST:
            cpu_time = time.process_time()
            await asyncio.sleep(FRAME)
            little = time.process_time() - cpu_time < LITTLE
            rests = self.rests
            await asyncio.sleep(LITTLE)
            if little and self.rests > rests and not self.waiting:
                return


def watch_loops(monkeypatch):
    """Make pilots wait for this, here and in pictures."""
    watch = LoopWatch()
    monkeypatch.setattr(
        selectors.DefaultSelector, "select", lambda selector, timeout=None: watch.select(selector, timeout)
    )
    monkeypatch.setattr(keys_in_turn, "_until", watch.counting(keys_in_turn._until))
    for module in (textual.app, textual.pilot):
        monkeypatch.setattr(module, "wait_for_idle", watch.wait_for_idle)
