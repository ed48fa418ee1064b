"""Why training should end early: a request in the run's folder, or a signal."""

import signal
import time
from types import FrameType

from rbp_engine.run.files.layout import RunDirectory

LOOK_EVERY_S = 0.2
# By urgency: of several processes, the largest number that one of them has decides for all.
ENDS = ("", "preempted", "stopped")


class StopFlag:
    """Looked at between steps. A request through `control/stop` ends the run as `stopped`, a signal as `preempted`."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.signal: str | None = None
        self._looked = 0.0
        self._requested = False

    def install(self) -> None:
        """Listen to SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 (a scheduler's warnings); SIGHUP is ignored."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name

    @property
    def level(self) -> int:
        """The place in `ENDS` of how training should end now, 0 to go on; asks the file system 5 times a second."""
        now = time.monotonic()
        if not self._requested and (now - self._looked >= LOOK_EVERY_S or self.signal):
            self._looked = now
            self._requested = self.run.stop_request.exists()
        if self._requested:
            return ENDS.index("stopped")
        return ENDS.index("preempted") if self.signal else 0

    def reason(self, status: str) -> str:
        """Why training has ended with this status."""
        if status == "stopped":
            return "asked to stop"
        return f"received {self.signal}" if self.signal else "another process of the run received a signal"
