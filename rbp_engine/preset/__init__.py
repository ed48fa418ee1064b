"""Presets: the settings of training runs as strict TOML. Importing this imports neither pydantic nor torch."""

from rbp_engine.guard.time_span import parse_checkpoint_every
from rbp_engine.preset.experiment import experiment_hash
from rbp_engine.preset.fields import FieldInfo, fields
from rbp_engine.preset.load import (
    LoadedPreset,
    PresetEntry,
    Setting,
    against_parent,
    differences,
    list_presets,
    load_preset,
    load_text,
    parse_resolved,
    read_resolved,
)
from rbp_engine.preset.overrides import SHORT_NAMES, setting_word
from rbp_engine.preset.resolved import resolved_toml
from rbp_engine.settings.problems import PresetError, Problem

__all__ = [
    "SHORT_NAMES",
    "FieldInfo",
    "LoadedPreset",
    "PresetEntry",
    "PresetError",
    "Problem",
    "Setting",
    "against_parent",
    "differences",
    "experiment_hash",
    "fields",
    "list_presets",
    "load_preset",
    "load_text",
    "parse_checkpoint_every",
    "parse_resolved",
    "read_resolved",
    "resolved_toml",
    "setting_word",
]
