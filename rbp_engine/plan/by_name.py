"""A sweep as its runs tell of it: those that carry its name in run.json, wherever and however they were started."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rbp_engine.plan.points import SweepPlan, SweepPoint
from rbp_engine.plan.states import PointState, standing_of
from rbp_engine.preset import LoadedPreset, PresetError, read_resolved, setting_word
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import SweepRecord, read_run_json
from rbp_engine.run.options import LaunchOptions
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.run_settings import differing_settings, settings_of
from rbp_engine.run.store.store import RunRecord

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
                point = SweepPoint(sweep.trial, (), summary.seed, loaded, identity="")
                yield PointState(point, standing_of(record.verdict), record)


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _loaded(run: RunDirectory, preset: str, label: str, experiment: str, _created: float) -> LoadedPreset | None:
    """The preset that is saved in a run, read once: it never changes. None if it cannot be read."""
    try:
        return LoadedPreset(read_resolved(run.preset_toml), preset, label, run.preset_toml, {}, experiment, {})
    except (PresetError, OSError):
        return None
