"""Settings that are each fine and do not go together."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from rbp_engine.preset.lines import KeyPath
from rbp_engine.preset.spelling import did_you_mean
from rbp_engine.preset.surrogates import SURROGATE_ARGUMENTS


def contradictions(sections: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    """Find the contradictions in settings given as plain tables, with every default filled in.

    Values may be wrong in themselves: a check whose values have the wrong type is passed over, so that all
    problems of a preset can be shown at once.
    """
    return [
        *_surrogate_arguments(_table(sections, "neuron")),
        *_reset_value(_table(sections, "neuron")),
        *_warmup(_table(sections, "optim"), _table(sections, "train")),
    ]


def _table(sections: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = sections.get(name)
    return table if isinstance(table, Mapping) else {}


def _surrogate_arguments(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    surrogate, given = neuron.get("surrogate"), neuron.get("surrogate_args")
    if not isinstance(surrogate, str) or surrogate not in SURROGATE_ARGUMENTS or not isinstance(given, Mapping):
        return []
    taken = SURROGATE_ARGUMENTS[surrogate]
    return [
        (
            ("neuron", "surrogate_args", name),
            f"the surrogate '{surrogate}' takes no '{name}', it takes: {', '.join(taken)}.{did_you_mean(name, taken)}",
        )
        for name in given
        if name not in taken
    ]


def _reset_value(neuron: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    value = neuron.get("v_reset")
    if neuron.get("reset") != "soft" or not _is_number(value) or value == 0:
        return []
    message = f'a soft reset subtracts the threshold and uses no v_reset, got {value}. Use 0.0, or reset = "hard"'
    return [(("neuron", "v_reset"), message)]


def _warmup(optim: Mapping[str, Any], train: Mapping[str, Any]) -> list[tuple[KeyPath, str]]:
    warmup, epochs = optim.get("warmup_epochs"), train.get("epochs")
    if not _is_number(warmup) or not _is_number(epochs) or warmup <= 0 or epochs < 1 or warmup < epochs:
        return []
    message = f"must be fewer than train.epochs ({epochs}), got {warmup}. Use 0 for no warm-up"
    return [(("optim", "warmup_epochs"), message)]


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
