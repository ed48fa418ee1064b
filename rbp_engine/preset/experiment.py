"""The identity of an experiment: what its runs share, whatever their seed, device or name."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from rbp_engine.preset.fields import fields

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset


def experiment_hash(preset: "Preset") -> str:
    """The SHA-256 (hexadecimal) of the canonical JSON of every field with role "result", but the seed."""
    values = preset.model_dump()
    chosen: dict[str, Any] = {}
    for info in fields():
        if info.role == "result" and info.key != "run.seed":
            section, _, name = info.key.partition(".")
            chosen[info.key] = _canonical(values[section][name])
    text = json.dumps(chosen, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Write 1 and 1.0, and 0.0 and -0.0, alike."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
