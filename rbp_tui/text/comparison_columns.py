"""The columns of a comparison: the settings in which the experiments differ, then their numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len

from rbp_engine.printable import one_line
from rbp_engine.report.compare import Comparison, Difference
from rbp_engine.report.names import method, shown_value
from rbp_engine.report.spread import Judged, Spread
from rbp_engine.run.files.layout import short_id
from rbp_tui.text import format as fmt
from rbp_tui.text.format import GIB, MIB
from rbp_tui.text.run_columns import setting_heading

LONGEST_CELL, LONGEST_TITLE = 20, 32
# What gives way first where there is no room: the largest number. Columns that tell the experiments apart stay longest.
TELLS_APART, ALSO_DIFFERS = 0, 7


@dataclass(frozen=True)
class ComparedColumn:
    """A cell for each group; `key` is that of a setting."""

    heading: str
    cells: tuple[str, ...]
    rank: int
    key: str = ""
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))


def columns_of(comparison: Comparison) -> list[ComparedColumn]:
    """All columns, in the order in which they stand; none without groups."""
    groups = comparison.groups
    if not groups:
        return []
    lasts, bests = [group.last for group in groups], [group.best for group in groups]
    differences = [group.last_difference for group in groups]
    epochs = [group.epoch_s for group in groups]
    peaks = [group.mem_peak for group in groups]
    counts = [group.last.count if group.last else len(group.runs) for group in groups]
    gained = single_difference_text if comparison.each_run else difference_text
    any_judged = any(group.judged for group in groups)
    digits = 2 if max((value for value in epochs if value is not None), default=0.0) < 10.0 else 1
    unit, unit_name = (GIB, "GiB") if max((peak or 0.0 for peak in peaks), default=0.0) >= GIB else (MIB, "MiB")
    return [
        *identity_columns(comparison),
        *([] if comparison.each_run else [numbers_column("n", counts, str, 3)]),
        spreads_column("last %", lasts, spread_text, "sd", 1),
        spreads_column("best %", bests, spread_text, "sd", 4),
        spreads_column("Δ last", differences, gained, "95 %", 2),
        *([_words("verdict", [judged_text(group.judged) for group in groups], 3)] if any_judged else []),
        spreads_column("Δ best", [group.best_difference for group in groups], gained, "95 %", 9),
        numbers_column("s/epoch", epochs, lambda value: f"{value:.{digits}f}", 5),
        numbers_column("samples/s", [group.samples_per_s for group in groups], fmt.thousands, 8),
        numbers_column(f"peak {unit_name}", peaks, lambda value: f"{value / unit:.{1 if unit == GIB else 0}f}", 6),
    ]


def fitting(columns: Sequence[ComparedColumn], width: int) -> list[ComparedColumn]:
    """Those of the columns that fit beside each other, the least important left out first."""
    left, chosen = width + 1, set()
    for place in sorted(range(len(columns)), key=lambda place: columns[place].rank):
        if columns[place].width + 1 <= left:
            left -= columns[place].width + 1
            chosen.add(place)
    return [column for place, column in enumerate(columns) if place in chosen]


def identity_columns(comparison: Comparison) -> list[ComparedColumn]:
    """What tells the groups apart; a title where nothing differs, as with one group."""
    groups = comparison.groups
    labels = [str(one_line(group.called)) for group in groups]
    columns = [_words("preset", labels, TELLS_APART, key="preset")] if len(set(labels)) > 1 else []
    results = [difference for difference in comparison.differences if difference.role == "result"]
    results.sort(key=lambda difference: difference.key not in ("method.name", "method.timesteps"))  # stable
    for difference in results:
        column = _setting(difference)
        splits = _parts([*columns, column]) > _parts(columns)
        columns.append(column if splits else replace(column, rank=ALSO_DIFFERS))
    if comparison.each_run:
        seeds = [group.first.summary.seed for group in groups]
        columns.append(numbers_column("seed", seeds, str, TELLS_APART))
        columns.append(_words("run", [str(one_line(short_id(group.first.run.id))) for group in groups], TELLS_APART))
    elif not columns:
        columns.append(_words("experiment", [one_line(group.title, LONGEST_TITLE) for group in groups], TELLS_APART))
    elif _parts(columns) < len(groups):  # the user's own code, or the version of rbp, has changed
        columns.append(_words("experiment", [one_line(group.experiment)[:8] for group in groups], TELLS_APART))
    return columns


def _parts(columns: Sequence[ComparedColumn]) -> int:
    """How many groups the columns tell apart."""
    return len(set(zip(*(column.cells for column in columns), strict=True))) if columns else 1


def _setting(difference: Difference) -> ComparedColumn:
    words = [
        method(value) if difference.key == "method.name" and isinstance(value, str) else shown_value(value)
        for value in difference.values
    ]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in difference.values)
    cells = _aligned(words, ".") if numbers else tuple(str(one_line(word, LONGEST_CELL)) for word in words)
    return ComparedColumn(setting_heading(difference.key), cells, TELLS_APART, difference.key, right=numbers)


def _words(name: str, words: Sequence[str], rank: int, key: str = "") -> ComparedColumn:
    return ComparedColumn(name, tuple(words), rank, key, right=False)


def numbers_column(heading: str, values: Sequence[Any], text: Callable[[Any], str], rank: int) -> ComparedColumn:
    cells = tuple("–" if value is None else text(value) for value in values)
    return ComparedColumn(heading, cells, rank)


def spreads_column(
    heading: str,
    spreads: Sequence[Spread | None],
    text: Callable[[Spread | None], str],
    of: str,
    rank: int,
) -> ComparedColumn:
    """Means, with what follows them below each other; the heading says what that is, if one has it."""
    cells = _aligned([text(spread) for spread in spreads], " ")
    heading += f" ± {of}" if any("±" in cell for cell in cells) else ""
    return ComparedColumn(heading, cells, rank)


def _aligned(words: Sequence[str], at: str) -> tuple[str, ...]:
    """The words, padded so that the first `at` of each, or its end, stands at the same place."""
    parts = [word.partition(at) for word in words]
    after = max((len(sign + rest) for _, sign, rest in parts), default=0)
    return tuple(f"{number}{sign + rest:<{after}}" for number, sign, rest in parts)


def spread_text(values: Spread | None) -> str:
    """`95.61 ± 0.12` in percent; a single run has no deviation."""
    if values is None:
        return "–"
    return f"{100.0 * values.mean:.2f}" + ("" if values.std is None else f" ± {fmt.percent(values.std)}")


def difference_text(values: Spread | None) -> str:
    """`−0.05 ± 0.06` in percentage points, the 95 % interval of the mean difference; of one seed `−0.05 (n=1)`."""
    if values is None:
        return "–"
    mean = single_difference_text(values)
    return f"{mean} (n=1)" if values.interval is None else f"{mean} ± {fmt.percent(values.interval)}"


def judged_text(judged: Judged | None) -> str:
    """What is shown of a difference, in a word."""
    return judged.word if judged else "–"


def single_difference_text(values: Spread | None) -> str:
    """`−0.05` in percentage points: the mean alone."""
    return "–" if values is None else fmt.points(values.mean)
