"""Where each point of a sweep stands, read from the runs of its runs directory, whatever started them.

Without its plan, a sweep is what its runs tell of it: those that carry its name in run.json, wherever they began.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rbp_engine.plan.points import SweepPlan, SweepPoint, run_identity
from rbp_engine.preset import LoadedPreset, PresetError, read_resolved, setting_word
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import SweepRecord, read_run_json
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.run_settings import differing_settings, processes_apart, settings_of
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
    records: dict[str, list[RunRecord]] = {point.identity: [] for point in plan.points}
    for record in runs:
        records.get(run_identity(record), []).append(record)
    found = []
    for point in plan.points:
        newest_first = sorted(records[point.identity], key=lambda record: record.summary.created, reverse=True)
        mine = [PointState(point, standing_of(one.verdict, retry_failed=retry_failed), one) for one in newest_first]
        missing = PointState(point, Standing.MISSING)
        found.append(min(mine, key=lambda state: _ORDER.index(state.standing), default=missing))
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


_RUNS_KEPT = 4096


def sweep_of(record: RunRecord) -> SweepRecord | None:
    """The sweep that created a run; None if none did, or if its run.json cannot be read."""
    return read_run_json(record.run).sweep


def read_sweep(
    name: str, runs: Path, records: Iterable[RunRecord], keys: Sequence[str] = ()
) -> tuple[SweepPlan, list[PointState]]:
    """The plan that the runs of a sweep amount to, and the state of each point; without runs that cannot be read.

    What varies are `keys`, or without any the settings in which the runs differ. Several sweeps may have had one
    name: if they gave one number to several trials, all are numbered anew.
    """
    members = list(_members(name, records))
    known = [one.record for one in members if one.record is not None]
    keys = keys or [key for key in differing_settings(known) if key != "run.seed"]
    groups: dict[tuple[int, str, tuple[str, ...]], list[PointState]] = {}
    for one, record in zip(members, known, strict=True):
        values = {key: settings_of(record).get(key) for key in keys}
        words = tuple(f"{key}=" if value is None else setting_word(key, value) for key, value in values.items())
        groups.setdefault((one.point.trial, one.point.loaded.experiment, words), []).append(one)
    unique = len({trial for trial, _, _ in groups}) == len(groups)
    states = []
    for number, ((trial, _, words), mine) in enumerate(sorted(groups.items(), key=lambda item: item[0][0]), 1):
        for one in sorted(mine, key=lambda state: state.point.seed):
            point = replace(one.point, trial=trial if unique else number, overrides=words)
            states.append(replace(one, point=point))
    preset = members[0].point.loaded.name if members else ""
    request = LaunchRequest(preset, options=LaunchOptions(runs))
    return SweepPlan(name, request, tuple(keys), tuple(state.point for state in states)), states


def _members(name: str, records: Iterable[RunRecord]) -> Iterator[PointState]:
    for record in records:
        sweep, summary = sweep_of(record) if record.readable else None, record.summary
        if sweep is not None and sweep.name == name:
            loaded = _loaded(record.run, summary.preset, summary.label, summary.experiment, summary.created)
            if loaded is not None:
                point = SweepPoint(sweep.trial, (), loaded, processes_apart(record))
                yield PointState(point, standing_of(record.verdict), record)


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _loaded(run: RunDirectory, preset: str, label: str, experiment: str, _created: float) -> LoadedPreset | None:
    """The preset that is saved in a run, read once: it never changes. None if it cannot be read."""
    try:
        return LoadedPreset(read_resolved(run.preset_toml), preset, label, run.preset_toml, {}, experiment, {})
    except (PresetError, OSError):
        return None
