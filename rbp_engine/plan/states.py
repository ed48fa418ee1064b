"""Where each point of a sweep stands, read from the runs of its runs directory, whatever started them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rbp_engine.plan.points import SweepPlan, SweepPoint, identity_of_run
from rbp_engine.run.cause import Cause
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord, list_runs


class Standing(StrEnum):
    """What is to be done about a point."""

    DONE = "done"
    LIVE = "live"
    RESUMABLE = "to be resumed"
    MISSING = "to be created"
    FAILED = "failed"


@dataclass(frozen=True)
class PointState:
    """A point and the run that counts for it, None if there is none."""

    point: SweepPoint
    standing: Standing
    record: RunRecord | None = None


# Of several runs of one identity, the first of these counts; of several of one standing, the newest.
_ORDER = (Standing.DONE, Standing.LIVE, Standing.RESUMABLE, Standing.FAILED)


def states_of(plan: SweepPlan, *, retry_failed: bool = False) -> list[PointState]:
    """The state of each point, in the order of the plan. A failed run is to be resumed with `retry_failed`."""
    return states_among(plan, list_runs(plan.request.options.runs), retry_failed=retry_failed)


def states_among(plan: SweepPlan, runs: Iterable[RunRecord], *, retry_failed: bool = False) -> list[PointState]:
    """The same, from the records of all runs."""
    records = _records_of(plan, runs)
    found = []
    for point in plan.points:
        standing = {
            record.run: standing_of(record.verdict, retry_failed=retry_failed) for record in records[point.identity]
        }
        mine = sorted(records[point.identity], key=lambda record: record.summary.created, reverse=True)
        best = min(mine, key=lambda record: _ORDER.index(standing[record.run]), default=None)
        found.append(PointState(point, standing[best.run] if best else Standing.MISSING, best))
    return found


def _records_of(plan: SweepPlan, runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs of each identity in the plan."""
    found: dict[str, list[RunRecord]] = {point.identity: [] for point in plan.points}
    wanted = {(point.loaded.experiment, point.seed) for point in plan.points}
    for record in runs:
        if (record.summary.experiment, record.summary.seed) in wanted:
            identity = identity_of_run(record.run, record.summary)
            if identity in found:
                found[identity].append(record)
    return found


def counts(states: Iterable[PointState]) -> dict[Standing, int]:
    """How many points stand where, in the order of `Standing`."""
    standings: Sequence[Standing] = [state.standing for state in states]
    return {standing: standings.count(standing) for standing in Standing}


def standing_of(verdict: Verdict, *, retry_failed: bool = False) -> Standing:
    """Where the point of a run stands that is in this state."""
    if verdict.live:
        return Standing.LIVE
    # A budget that is used up would end a resumed run at once.
    if verdict.has_result or (verdict.status == "stopped" and verdict.cause is Cause.PRUNED):
        return Standing.DONE
    if verdict.cause is Cause.UNRESPONSIVE:  # its process is still there, so nothing can resume it
        return Standing.FAILED
    if verdict.resumable and (verdict.status != "failed" or retry_failed):
        return Standing.RESUMABLE
    return Standing.FAILED
