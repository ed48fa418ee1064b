"""How a run ends before its last epoch by its own guard: early stop, and budgets of time and steps."""

import contextlib
import time

from rbp_engine.guard.early_stop import EarlyStop
from rbp_engine.guard.time_span import parse_time_span
from rbp_engine.preset.schema import GuardSection
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.events import Heartbeat, RunEnd, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import LOST_AFTER_S
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.ranks.failures import Ending
from rbp_engine.train.ranks.signals import ENDS, OUT_OF_BUDGET, StopFlag


class Limits:
    """Asked between steps. Nothing here waits for the device.

    Steps and scores are the same on all processes, so each comes to the same decision. Only the first has a clock, with
    `max_time_s`, of which `spent_s` are spent; the others learn of it with everything else that they agree on.
    """

    def __init__(
        self, *, early_stop: EarlyStop | None = None, max_steps: int = 0, max_time_s: float = 0.0, spent_s: float = 0.0
    ) -> None:
        self.early_stop = early_stop or EarlyStop()
        self.max_steps = max_steps
        self._ends_at = time.monotonic() + max_time_s - spent_s if max_time_s else None

    def clock(self) -> int:
        """The index in `ENDS` of how training should end, as this process knows from its clock; 0 to continue."""
        out_of_time = self._ends_at is not None and time.monotonic() >= self._ends_at
        return ENDS.index(OUT_OF_BUDGET) if out_of_time else 0

    def steps(self, at: Progress) -> int:
        """The same from the number of steps, equal on all processes."""
        return ENDS.index(OUT_OF_BUDGET) if 0 < self.max_steps <= at.step else 0

    def has_enough(self, at: Progress) -> bool:
        """Whether the epochs so far have improved nothing for so long that training is complete."""
        return self.early_stop.is_due(at.epoch)


def read_limits(run: RunDirectory, guard: GuardSection, early_stop: EarlyStop, *, first: bool) -> Limits:
    """The limits of an attempt that begins; `first` is whether this process is the first, which has the clock."""
    seconds = parse_time_span(guard.max_time) if guard.max_time and first else 0.0
    spent = worked_s(run) if seconds else 0.0
    return Limits(early_stop=early_stop, max_steps=guard.max_steps, max_time_s=seconds, spent_s=spent)


def worked_s(run: RunDirectory) -> float:
    """The seconds that earlier attempts of a run have worked, from their first step to their last sign of life.

    A gap between these, because the machine slept or its clock was set, counts no more than a worker may be silent.
    """
    worked, before = 0.0, None
    with contextlib.suppress(OSError):  # what could be read counts
        for event in EventReader(run.events(), (RunStart, Heartbeat, RunEnd)).stream():
            if before is not None and before.attempt == event.attempt:
                worked += min(max(0.0, event.t - before.t), LOST_AFTER_S)
            before = event
    return worked


def ending(status: str, at_epoch: int, epochs: int, guard: GuardSection, limits: Limits, stop: StopFlag) -> Ending:
    """How training that returned this `status` has ended."""
    if status == OUT_OF_BUDGET:
        budgets = {"guard.max_time": guard.max_time, "guard.max_steps": guard.max_steps}
        used = " or ".join(f"{name} = {value}" for name, value in budgets.items() if value)
        return Ending("stopped", Cause.BUDGET, f"its budget is used up, {used}")
    if status != "completed":
        return Ending(status, *stop.why(status))
    if at_epoch >= epochs or (best := limits.early_stop.best) is None:
        return Ending(status)
    delta = f" by {100.0 * guard.early_stop_delta:g} points" if guard.early_stop_delta else ""
    reason = (
        f"early stop after epoch {at_epoch} of {epochs}: top-1 has not improved{delta} since epoch "
        f"{limits.early_stop.epoch}, {100.0 * best:.2f} %"
    )
    return Ending(status, Cause.EARLY_STOP, reason)
