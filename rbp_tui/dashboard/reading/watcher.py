"""A thread that looks at something again and again."""

import threading


class Watcher:
    """Looks from `start` to `stop`, with a pause after each look, unless something wakes it."""

    def __init__(self, name: str) -> None:
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(self._look())
            self._wake.clear()

    def _look(self) -> float | None:
        """Look once, and return the seconds of the pause; None: until it is woken. Raises nothing."""
        raise NotImplementedError
