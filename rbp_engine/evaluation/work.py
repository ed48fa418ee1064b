"""How far an evaluation has come: passes over the test set, each as long as its timesteps."""

import time
from typing import Any

from rbp_engine.child import Progress

# Batches of a small network take a millisecond.
TOLD_EVERY_S = 0.2


class Work:
    """Counts batches; `expect` says before which passes there are to be, by their T."""

    def __init__(self, say: Progress) -> None:
        self._say = say
        self._told = 0.0
        self._expected = self._done = 0
        self._doing = ""
        self._timesteps = self._batch = 0
        self._batches = 1

    def expect(self, *timesteps: int) -> None:
        """More passes are to come, each at one of these T."""
        self._expected += sum(timesteps)

    def begin(self, doing: str, timesteps: int, batches: int) -> None:
        """The next pass begins."""
        self._done += self._timesteps
        self._doing, self._timesteps, self._batches, self._batch = doing, timesteps, max(1, batches), 0
        self._told = 0.0
        self._tell()

    def watch(self, *_: Any) -> None:
        """Another batch is done."""
        self._batch += 1
        self._tell()

    def _tell(self) -> None:
        if time.monotonic() - self._told < TOLD_EVERY_S:
            return
        self._told = time.monotonic()
        done = self._done + self._timesteps * self._batch / self._batches
        self._say(self._doing, min(1.0, done / max(1, self._expected)))
