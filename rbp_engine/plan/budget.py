"""Budgets of a sweep that are larger than those of its runs: they change no result, so runs go on with them."""

import math
from typing import TYPE_CHECKING

from rbp_engine.guard.time_span import parse_time_span
from rbp_engine.preset import PresetError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.longer import preset_in_force

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.preset.sections.guard import GuardSection

#: They end a run or tell of it, and change neither what it learns nor what a step costs.
WITHOUT_EFFECT = ("guard.max_time", "guard.max_steps", "guard.alerts")


def larger_budget(wanted: "Preset", run: RunDirectory) -> tuple[str, ...]:
    """The words that give a run the budgets of a preset; empty if its own are as large, or cannot be read."""
    try:
        own = preset_in_force(run).guard
    except PresetError:
        return ()
    (time, steps), (own_time, own_steps) = _limits(wanted.guard), _limits(own)
    if time < own_time or steps < own_steps or (time, steps) == (own_time, own_steps):
        return ()
    return (f"guard.max_time={wanted.guard.max_time}", f"guard.max_steps={wanted.guard.max_steps}")


def _limits(guard: "GuardSection") -> tuple[float, float]:
    """Seconds and steps, infinite without a limit."""
    return parse_time_span(guard.max_time) if guard.max_time else math.inf, guard.max_steps or math.inf
