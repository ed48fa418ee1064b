"""The reasons to end training early: a request in the run's folder, or a signal."""

import signal
import time
from types import FrameType

from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.launch.held_signals import release_signals

LOOK_EVERY_S = 0.2
OUT_OF_BUDGET = "out of budget"
# In order of priority: of several processes, the largest index decides for all.
ENDS = ("", OUT_OF_BUDGET, "preempted", "stopped")


class StopFlag:
    """Checked between steps. The request `control/stop` ends the run as `stopped`, a signal as `preempted`."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.signal: str | None = None
        self._looked = 0.0
        self._requested = False

    def install(self) -> None:
        """Handle SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 (a scheduler's warnings); ignore SIGHUP."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        release_signals()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name

    @property
    def level(self) -> int:
        """The index in `ENDS` of how training should end now, 0 to continue; checks the file 5 times a second."""
        now = time.monotonic()
        if not self._requested and (now - self._looked >= LOOK_EVERY_S or self.signal):
            self._looked = now
            self._requested = self.run.stop_request.exists()
        if self._requested:
            return ENDS.index("stopped")
        return ENDS.index("preempted") if self.signal else 0

    def why(self, status: str) -> tuple[Cause, str]:
        """The cause and the reason why training ended with this status."""
        if status == "stopped":
            request = read_stop_request(self.run)
            return request.cause, request.sentence
        received = f"received {self.signal}" if self.signal else "another process of the run received a signal"
        return Cause.REQUEST, received
