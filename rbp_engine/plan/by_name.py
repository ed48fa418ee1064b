"""A sweep as its runs tell of it: those that carry its name in run.json, wherever and however they were started."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.plan.points import SweepPlan, SweepPoint
from rbp_engine.plan.states import PointState, standing_of
from rbp_engine.preset import LoadedPreset, PresetError, read_resolved, setting_word
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.run_json import SweepRecord, read_run_json
from rbp_engine.run.options import LaunchOptions
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.run_settings import differing_settings, settings_of
from rbp_engine.run.store.store import RunRecord


@dataclass(frozen=True)
class _Member:
    record: RunRecord
    trial: int
    loaded: LoadedPreset


class SweepRuns:
    """Finds the runs of sweeps in a list of all runs. Of what never changes in their files, it reads each once."""

    def __init__(self) -> None:
        self._sweeps: dict[tuple[Path, float], SweepRecord | None] = {}
        self._presets: dict[tuple[Path, float, str], LoadedPreset | None] = {}

    def sweep_of(self, record: RunRecord) -> SweepRecord | None:
        """The sweep that created a run; None if none did, or if its run.json cannot be read."""
        key = (record.run.path, record.summary.created)
        if key not in self._sweeps:
            try:
                self._sweeps[key] = read_run_json(record.run).sweep
            except (RunError, OSError):
                self._sweeps[key] = None
        return self._sweeps[key]

    def read(
        self, name: str, runs: Path, records: Iterable[RunRecord], keys: Sequence[str] = ()
    ) -> tuple[SweepPlan, list[PointState]]:
        """The plan that the runs of a sweep amount to, and the state of each point; without runs that cannot be read.

        What varies are `keys`, or without any the settings in which the runs differ. Several sweeps may have had one
        name: if they gave one number to several trials, all are numbered anew.
        """
        members = [one for one in map(self._member, self._named(name, records)) if one is not None]
        keys = keys or [key for key in differing_settings(one.record for one in members) if key != "run.seed"]
        groups: dict[tuple[int, str, tuple[str, ...]], list[_Member]] = {}
        for one in members:
            words = tuple(_word(key, settings_of(one.record).get(key)) for key in keys)
            groups.setdefault((one.trial, one.loaded.experiment, words), []).append(one)
        unique = len({trial for trial, _, _ in groups}) == len(groups)
        states = []
        for number, ((trial, _, words), mine) in enumerate(sorted(groups.items(), key=lambda item: item[0][0]), 1):
            for one in sorted(mine, key=lambda member: member.record.summary.seed):
                seed = one.record.summary.seed
                point = SweepPoint(trial if unique else number, words, seed, one.loaded, identity="")
                states.append(PointState(point, standing_of(one.record.verdict), one.record))
        preset = members[0].loaded.name if members else ""
        request = LaunchRequest(preset, options=LaunchOptions(runs))
        return SweepPlan(name, request, tuple(keys), tuple(state.point for state in states)), states

    def _named(self, name: str, records: Iterable[RunRecord]) -> Sequence[RunRecord]:
        of = ((record, self.sweep_of(record)) for record in records if record.readable)
        return [record for record, sweep in of if sweep is not None and sweep.name == name]

    def _member(self, record: RunRecord) -> _Member | None:
        sweep, loaded = self.sweep_of(record), self._loaded(record)
        return None if sweep is None or loaded is None else _Member(record, sweep.trial, loaded)

    def _loaded(self, record: RunRecord) -> LoadedPreset | None:
        """The preset that is saved in a run."""
        summary, path = record.summary, record.run.preset_toml
        key = (record.run.path, summary.created, summary.experiment)
        if key not in self._presets:
            try:
                preset = read_resolved(path)
            except (PresetError, OSError):
                self._presets[key] = None
            else:
                loaded = LoadedPreset(preset, summary.preset, summary.label, path, {}, summary.experiment, {})
                self._presets[key] = loaded
        return self._presets[key]


def _word(key: str, value: object) -> str:
    """The override for a value; without one for a run of a version that had no such setting."""
    return f"{key}=" if value is None else setting_word(key, value)
