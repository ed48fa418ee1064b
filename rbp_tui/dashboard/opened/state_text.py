"""The state of a run as text: its status, the reason, and advice."""

from collections.abc import Callable
from dataclasses import dataclass

from rbp_engine.printable import one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.events import ErrorRaised
from rbp_engine.run.status.status import HEARTBEAT_S, LOST_AFTER_S
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import RESUME_CONDITIONS, WHY_RESUME_FAILS

# Two heartbeats and a little: older data do not show the present.
STALE_AFTER_S = 2.5 * HEARTBEAT_S

#: Returns the user's key for an action; empty if it does nothing now.
KeyOf = Callable[[str], str]


@dataclass(frozen=True)
class RunState:
    """`status` is the word for the run's verdict, or "stale" (no news of a live run), or "gone" (its folder is).

    `doing` is the phase of a live run, as "compiling", empty if unknown.
    """

    status: str
    why: str = ""
    advice: str = ""
    doing: str = ""


def run_state(sight: Sight, *, there: bool, silence: float, key_of: KeyOf) -> RunState:
    """The current state of a run: `there` is whether its folder exists, `silence` the seconds since its last news."""
    if not there:
        return RunState(
            "gone", f"{sight.run.path} is no longer there", "what was read of it is shown; rbp runs restore may have it"
        )
    status, why = sight.verdict.status, _reason(sight)
    if status in ("running", "starting", "stopping") and silence > STALE_AFTER_S:
        why = f"{status}, but no sign of life for {fmt.duration(silence)}; lost after {LOST_AFTER_S:.0f}s"
        return RunState("stale", why, _keys(key_of, ("kill", "kills it")))
    doing = str(one_line(sight.summary.phase)) if status in ("starting", "running") else ""
    if status == "completed":  # one that ended early has a reason, too
        why = " · ".join(filter(None, (why, _usually(status, sight))))
    return RunState(sight.verdict.shown_status, why or _usually(status, sight), _advice(sight, key_of), doing)


def _reason(sight: Sight) -> str:
    """The reason of the status; of several ranks, with the one whose failure it is."""
    why, failure = str(one_line(sight.verdict.reason)), sight.history.failure
    if failure is None or len(sight.history.processes) < 2 or not isinstance(failure.body, ErrorRaised):
        return why
    return f"rank {failure.rank}: {why}" if str(one_line(failure.body.message)) == why else why


def _usually(status: str, sight: Sight) -> str:
    """The text for a status without a reason."""
    test = ", ".join(f"{fmt.percent(top1)} % {name} weights" for name, top1 in sight.summary.test.known.items())
    return {
        "queued": "waiting for its turn",
        "starting": "" if sight.summary.phase else "the worker loads torch and the data",
        "completed": f"test top-1 {test}" if test else "",
    }.get(status, "")


def _advice(sight: Sight, key_of: KeyOf) -> str:
    status, cause = sight.verdict.status, sight.verdict.cause
    if cause.wants_new_run:
        again = [] if cause is Cause.OWN_CODE else [("again", "runs it again, changed")]  # which runs the same code
        keys = _keys(key_of, ("monitor.traceback", "shows the traceback"), *again)
        return " · ".join(filter(None, (keys, "" if sight.summary.program else WHY_RESUME_FAILS[cause])))
    if sight.verdict.resumable:
        checkpoint = sight.history.checkpoints[-1].body if sight.history.checkpoints else None
        resume = f"resumes from {checkpoint.name}" if checkpoint is not None else "starts it again"  # type: ignore[union-attr]
        condition = f" {RESUME_CONDITIONS[cause]}" if cause in RESUME_CONDITIONS else ""
        kill = [("kill", "kills it")] if cause is Cause.UNRESPONSIVE else []
        return _keys(key_of, ("monitor.traceback", "shows the traceback"), *kill, ("resume", resume + condition))
    if status == "stalled":
        return _keys(key_of, ("stop", "stops it after its step"), ("kill", "kills it"))
    if status == "completed":
        return _keys(
            key_of, ("again", "runs it again, changed"), ("resume", "trains it longer"), ("compare", "compares")
        )
    return ""


def _keys(key_of: KeyOf, *offers: tuple[str, str]) -> str:
    """As `T shows the traceback · r resumes`, without keys that do nothing now."""
    return " · ".join(f"{key} {does}" for name, does in offers if (key := key_of(name)))
