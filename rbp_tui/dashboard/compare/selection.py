"""The runs on the Compare screen: the chosen ones, else the newest, and the pinned baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

from rbp_engine.run.store.run_settings import settings_of
from rbp_engine.run.store.store import RunRecord

RUNS_AT_MOST = 64
NEWEST_EXPERIMENTS = 4


@dataclass(frozen=True)
class ComparedRuns:
    """The runs as last read, the baseline's first; `notes` explain which chosen runs are not shown."""

    records: tuple[RunRecord, ...] = ()
    baseline: RunRecord | None = None
    notes: tuple[str, ...] = ()


def compared_runs(records: Sequence[RunRecord], chosen: Sequence[str], pinned: str) -> ComparedRuns:
    """The runs to compare, from `records`, which has all runs, oldest first; of the archived ones only what is chosen.

    A pinned baseline adds all runs of its experiment, unless the choice has some of them.
    """
    there = {record.run.id: record for record in records if record.readable}
    found = [record for record in there.values() if record.run.id in set(chosen)]
    notes = []
    if not found:
        listed = [record for record in there.values() if not record.hidden]
        found = _newest(listed)
        if len({record.summary.experiment for record in listed}) > 1 or chosen:
            on = f" on {_data(found[0])}" if found else ""
            notes.append(f"the newest experiments{on}. 2: Space marks others, c compares them")
    elif gone := len(set(chosen)) - len(found):
        notes.append(f"{gone} of the chosen runs {'is' if gone == 1 else 'are'} not there any more")
    baseline = there.get(pinned)
    if pinned and baseline is None:
        notes.append(f"the pinned baseline {pinned} is not there")
    if baseline is not None:
        experiment = baseline.summary.experiment
        if all(record.summary.experiment != experiment for record in found):
            found = [record for record in there.values() if record.summary.experiment == experiment] + found
        found.sort(key=lambda record: record.summary.experiment != experiment)  # stable: its runs come first
    if len(found) > RUNS_AT_MOST:
        notes.append(f"{RUNS_AT_MOST} of {len(found)} runs")
    return ComparedRuns(tuple(found[:RUNS_AT_MOST]), baseline, tuple(notes))


def _newest(records: Sequence[RunRecord]) -> list[RunRecord]:
    """All runs of the newest experiments on the data of the newest, of those that have begun if there are any."""
    begun = [record for record in records if record.summary.step] or records
    newest = [_data(record) for record in begun[-1:]]
    alike = [record for record in begun if _data(record) in newest]
    experiments = list(dict.fromkeys(record.summary.experiment for record in reversed(alike)))[:NEWEST_EXPERIMENTS]
    return [record for record in records if record.summary.experiment in experiments]


def _data(record: RunRecord) -> str:
    return str(settings_of(record).get("data.name") or "unknown data")
