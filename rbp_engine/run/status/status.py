"""The status of a run: from evidence, never from an exit code.

The worker writes `starting`, `running` and its own end: `completed`, `stopped`, `preempted`, `failed`; `rbp stop --now`
writes `killed`, the queue `queued`. `stopping`, `stalled` and `lost` are found here whenever a reader asks, and are not
stored.
"""

import time
from dataclasses import dataclass

from rbp_engine.os_process import Alive, is_alive
from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import Ended, last_attempt, newest_begun, record_end
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.stop_request import read_stop_request
from rbp_engine.run.files.summary import Summary, read_summary

ENDED = frozenset({"completed", "stopped", "preempted", "failed", "killed"})
LIVE = frozenset({"queued", "starting", "running", "stopping", "stalled"})

HEARTBEAT_S = 5.0
LOST_AFTER_S = 30.0
# Until all processes have found each other there is no heartbeat; torchrun waits 600 s for the other nodes.
GATHERING_S = 700.0
STALLED_AFTER_S = 60.0
STALLED_AFTER_STEPS = 20


@dataclass(frozen=True)
class Verdict:
    """A status, a sentence with the reason, and the cause of an end, which decides what can be done."""

    status: str
    reason: str
    cause: Cause = Cause.UNKNOWN

    @property
    def live(self) -> bool:
        """Whether the run may still be doing something."""
        return self.status in LIVE

    @property
    def shown_status(self) -> str:
        """The status in lists and messages: a run that a search has pruned is done, not one that a user has stopped."""
        return "pruned" if self.status == "stopped" and self.cause is Cause.PRUNED else self.status

    @property
    def has_result(self) -> bool:
        """Whether the run has all that it will ever have: it has completed, or has used up its budget."""
        return self.status == "completed" or (self.status == "stopped" and self.cause is Cause.BUDGET)

    @property
    def resumable(self) -> bool:
        return self.status in {"stopped", "preempted", "failed", "killed", "lost"}


def judge(run: RunDirectory, summary: Summary | None = None, now: float | None = None) -> Verdict:
    """The status of a run. Reads little while the worker is alive, and the evidence it left only once it is gone."""
    summary = summary or read_summary(run)
    if summary is None:
        gone = not run.path.exists()
        return Verdict("lost", f"its folder {run.path} is gone" if gone else "run.json is missing or damaged")
    if summary.status in ENDED:
        return Verdict(summary.status, summary.reason, Cause(summary.cause))
    if summary.status == "queued":  # a queued run sends no heartbeat
        return Verdict(summary.status, summary.reason)
    now = time.time() if now is None else now
    attempt = last_attempt(run)
    if attempt is not None and (attempt.attempt != summary.attempt or not attempt.begun):
        attempt = None  # a new attempt is being started, and its process is not recorded yet
    alive = is_alive(attempt.process) if attempt else Alive.UNKNOWN
    silence = max(0.0, now - summary.updated)
    if attempt and alive is Alive.NO:
        from rbp_engine.run.status.post_mortem import diagnose  # lists of runs that have ended need none of it

        verdict = Verdict(*diagnose(run, attempt))
        if verdict.status in ("lost", "killed") and run.kill_request.exists():
            return Verdict("killed", "killed", Cause.REQUEST)  # what kills it is about to write more
        return verdict
    gathering = summary.status == "starting" and attempt is not None and attempt.world_size > 1
    if silence > (GATHERING_S if gathering else LOST_AFTER_S):
        if attempt and alive is Alive.YES:
            there = f"no heartbeat for {silence:.0f} s, but process {attempt.process.pid} is there"
            return Verdict("lost", there, Cause.UNRESPONSIVE)
        where = f" {attempt.process.where}" if attempt else ": it was never started"
        return Verdict("lost", f"no heartbeat for {silence:.0f} s{where}", Cause.LOST_PROCESS)
    if not attempt and summary.updated - now > LOST_AFTER_S:  # silence would stay 0 until the clock catches up
        return Verdict("lost", "it was never started, and the clock has been set back since", Cause.LOST_PROCESS)
    idle = max(0.0, now - summary.progressed)
    if summary.status == "running" and idle > stall_patience_s(summary):
        return Verdict("stalled", f"no step for {idle:.0f} s (step {summary.step})")
    if summary.status == "running" and run.stop_request.exists():
        request = read_stop_request(run)
        return Verdict("stopping", f"{request.sentence}: it saves after its step, and ends")
    return Verdict(summary.status, summary.reason)


def record_verdict(run: RunDirectory, verdict: Verdict) -> None:
    """Record that the newest attempt that has begun has ended like this, unless its end is known.

    Raises RunError if its record is damaged, OSError.
    """
    if number := newest_begun(run):
        record_end(run, number, Ended(verdict.status, verdict.cause, visible(verdict.reason), time.time()))


def stall_patience_s(summary: Summary) -> float:
    """Seconds that a run may go without a step before it counts as stalled: a minute, or 20 steps if they are long."""
    return max(STALLED_AFTER_S, STALLED_AFTER_STEPS * (summary.step_ms or 0.0) / 1000.0)
