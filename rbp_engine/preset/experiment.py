"""The identity of an experiment: what its runs have in common, whatever their seed, device or name."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.fields import settings, values_of
from rbp_engine.preset.own_code import inside_a_run, own_file
from rbp_engine.vocabulary import RATE_METHODS

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

LOSS_SCALE, SEED = "method.loss_scale", "run.seed"


def experiment_hash(preset: "Preset", own_code: Mapping[str, str] | None = None) -> str:
    """The SHA-256 (hexadecimal) of the canonical JSON of every field with role "result", except the seed.

    `own_code` has the hash of the user's file for each field that names one; that of a probe changes no result. Of a
    field that names weights it has theirs, and their name does not matter.
    """
    chosen: dict[str, Any] = canonical(of_role(preset, "result"))
    for key, digest in (own_code or {}).items():
        if key in chosen:
            named = chosen[key]
            chosen[key] = digest if own_file(named) is None else [inside_a_run(named), digest]
    text = json.dumps(chosen, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def of_role(preset: "Preset", role: str) -> dict[str, Any]:
    """The fields of one role by dotted key, without the seed; what the method ignores is as by default."""
    known, values = settings(), values_of(preset)
    if is_ignored(LOSS_SCALE, preset.method.name):
        values[LOSS_SCALE] = known[LOSS_SCALE].default
    return {key: values[key] for key, info in known.items() if info.role == role and key != SEED}


def is_ignored(key: str, method: str) -> bool:
    """Whether a training method ignores a setting, which then makes no other experiment of it."""
    return key == LOSS_SCALE and method not in RATE_METHODS


def canonical(value: Any) -> Any:
    """Make 1 equal 1.0, and -0.0 equal 0.0."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
