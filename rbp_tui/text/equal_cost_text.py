"""Experiments at equal cost as text and as JSON: after as many epochs, in the same time, and in the same memory."""

import math
from collections.abc import Callable
from dataclasses import replace
from textwrap import wrap
from typing import Any

from rich.text import Text

from rbp_engine.report.compare import Comparison
from rbp_engine.report.equal_cost import SAME_MEMORY, EqualCost, Reached
from rbp_engine.report.spread import Spread
from rbp_tui.text import format as fmt
from rbp_tui.text.comparison_columns import (
    TELLS_APART,
    ComparedColumn,
    difference_text,
    identity_columns,
    numbers_column,
    single_difference_text,
    spreads_column,
)
from rbp_tui.text.comparison_text import ComparisonText, spread_plain, table_text

NO_SEED = "at equal cost: no seed of the baseline has been validated in another experiment too"


def equal_cost_columns(comparison: Comparison, equal: EqualCost) -> list[ComparedColumn]:
    """What tells the groups apart, and for each kind of cost, the top-1 reached and its difference to the baseline."""
    difference = single_difference_text if comparison.each_run else difference_text
    columns = [*identity_columns(comparison)]
    # A slow experiment may have no validation yet by the time that the fastest took.
    reached_by = zip(equal.after_epochs, equal.in_time, strict=True)
    counts = [max((one.top1.count for one in both if one.top1), default=0) for both in reached_by]
    if not comparison.each_run:
        columns.append(numbers_column("n", counts, str, TELLS_APART))
    needed = [_needed_text(*both) for both in zip(equal.in_memory, equal.memory_needed, strict=True)]
    for budget, reached, cells, ranks in (
        (_epochs(equal), equal.after_epochs, None, (1, 2)),
        (_time(equal), equal.in_time, None, (3, 4)),
        (_memory(equal), equal.in_memory, needed, (5, 6)),
    ):
        if not budget:
            continue
        tops = [_top1_text(one.top1, count) for one, count in zip(reached, counts, strict=True)]
        column = numbers_column(f"{budget} %", tops, str, ranks[0])
        columns += [
            column if cells is None else replace(column, cells=tuple(cells)),
            spreads_column("Δ", [one.difference for one in reached], difference, "95 %", ranks[1]),
        ]
    return columns


def _top1_text(top1: Spread | None, seeds: int) -> str | None:
    """The mean; of fewer than all `seeds` that have reached something, with how many they are."""
    if top1 is None:
        return None
    return fmt.percent(top1.mean) + (f" n={top1.count}" if top1.count < seeds else "")


def equal_cost_text(comparison: Comparison, equal: EqualCost, width: int) -> ComparisonText:
    """One row for each experiment; below, what the budgets are."""
    columns = equal_cost_columns(comparison, equal)
    return table_text(comparison, columns, width, lambda signs, shown: _below(equal, width))


def equal_cost_plain(equal: EqualCost) -> dict[str, Any]:
    """For JSON, with the groups in the order of the comparison: fractions, seconds, bytes.

    A budget is that of the first and that of the last of the seeds, ordered by it.
    """
    memory = [
        _reached_plain(reached) | {"needed": needed}
        for reached, needed in zip(equal.in_memory, equal.memory_needed, strict=True)
    ]
    return {
        "epochs": {"budget": equal.epochs, "groups": [_reached_plain(one) for one in equal.after_epochs]},
        "time": {"budget": equal.seconds, "groups": [_reached_plain(one) for one in equal.in_time]},
        "memory": {"budget": equal.memory, "groups": memory},
    }


def _reached_plain(reached: Reached) -> dict[str, Any]:
    return {"top1": spread_plain(reached.top1), "difference": spread_plain(reached.difference)}


def _below(equal: EqualCost, width: int) -> Text:
    if equal.seconds is None:
        return Text("\n".join(wrap(NO_SEED, max(1, width))), style="dim")
    parts = [
        f"{_epochs(equal)}: the last that all of a seed have validated"
        if equal.epochs
        else "no epoch has been validated by all",
        f"{_time(equal)}: when the fastest of each seed was done; of the others, the newest validation by then",
    ]
    if equal.memory:
        parts.append(f"{_memory(equal)}: the baseline's peak: which experiments fit into that much, or 1 % more")
    return Text("\n".join(line for part in parts for line in wrap(part, max(1, width))), style="dim")


def _epochs(equal: EqualCost) -> str:
    return f"epoch {_both(equal.epochs, lambda epoch: f'{epoch:g}')}" if equal.epochs else ""


def _time(equal: EqualCost) -> str:
    return _both(equal.seconds, fmt.duration) if equal.seconds else ""


def _memory(equal: EqualCost) -> str:
    return fmt.size(equal.memory) if equal.memory else ""


def _both(budgets: tuple[float, float], text: Callable[[float], str]) -> str:
    """The budget, or the smallest and the largest."""
    return "–".join(dict.fromkeys(map(text, budgets)))


def _needed_text(reached: Reached, needed: float | None) -> str:
    if needed is not None and reached.top1 is None and needed > SAME_MEMORY:
        return f"needs {math.ceil(100 * needed) / 100:.3g}×"  # rounded down, it might be what fits
    return fmt.percent(reached.top1.mean if reached.top1 else None)
