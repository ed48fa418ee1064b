"""The identity of a run in a sweep: all that it resolves to, wherever it is and whatever started it."""

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

from rbp_engine.preset import LoadedPreset, PresetError, fields, read_resolved
from rbp_engine.preset.own_code import inside_a_run, own_file, read_own_code
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

_OWN_PROBES = "probes.own"
#: They end a run or tell of it, and change neither what it learns nor what a step costs.
_WITHOUT_EFFECT = ("guard.max_time", "guard.max_steps", "guard.alerts")


def identity_of(loaded: LoadedPreset) -> str:
    """The SHA-256 (hexadecimal) of the experiment, the cost fields and the seed of a preset.

    Budgets and alerts are not part of it: they change while a run goes on, and not what it is.
    """
    own = loaded.own_code.get(_OWN_PROBES)
    return _digest(loaded.experiment, loaded.preset, loaded.preset.run.seed, own.digest if own else "")


def identity_of_run(run: RunDirectory, summary: Summary) -> str | None:
    """The identity of a run, read once: it never changes. None if its preset cannot be read."""
    return _identity_of_run(run, summary.experiment, summary.seed, summary.created)


@functools.lru_cache(maxsize=65_536)
def _identity_of_run(run: RunDirectory, experiment: str, seed: int, _created: float) -> str | None:
    try:
        preset = read_resolved(run.preset_toml)
        own = preset.probes.own
        code = read_own_code(own, run.code, copied=True).digest if own_file(own) else ""
    except (PresetError, OSError, ValueError):
        return None
    return _digest(experiment, preset, seed, code)


def _digest(experiment: str, preset: "Preset", seed: int, own_probes: str) -> str:
    values = preset.model_dump()
    chosen: dict[str, Any] = {}
    for key in _cost_fields():
        section, _, name = key.partition(".")
        value = values[section][name]
        chosen[key] = inside_a_run(value) if key == _OWN_PROBES else value
    if own_probes:
        chosen["code"] = own_probes
    text = json.dumps([experiment, seed, chosen], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _cost_fields() -> tuple[str, ...]:
    return tuple(info.key for info in fields() if info.role == "cost" and info.key not in _WITHOUT_EFFECT)
