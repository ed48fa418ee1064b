"""A comparison of runs as text and as JSON: what `rbp runs compare` prints and the dashboard shows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.report.compare import Comparison, Difference, Group
from rbp_engine.report.names import value_text
from rbp_engine.report.spread import Spread
from rbp_tui.text import format as fmt

# Headings and widths. Without WIDE they fit into 80 columns less the edges of a screen.
COLUMNS = (
    ("n", 2),
    ("last %", 13),
    ("best %", 13),
    ("Δ last", 13),
    ("Δ best", 13),
    ("pairs", 5),
    ("s/epoch", 7),
    ("samples/s", 9),
    ("peak", 8),
)
WIDE = ("Δ best",)
WIDE_FROM = 100
INDENT = 4


@dataclass(frozen=True)
class ComparisonText:
    """The headings, one text of one or more rows per group, and the differences; no row exceeds the width."""

    headings: Text
    groups: tuple[Text, ...]
    differences: Text

    @property
    def whole(self) -> Text:
        """All parts, one below the other."""
        parts = [self.headings, *self.groups, *([Text(), self.differences] if self.differences else [])]
        return Text("\n").join(parts)


def comparison_text(comparison: Comparison, width: int, colours: Sequence[str] = ()) -> ComparisonText:
    """The experiments with their numbers, then their differences; a star marks the baseline.

    Titles stand beside the numbers if they fit, otherwise on lines of their own. `colours` has one for each group's
    sign.
    """
    columns = [column for column in COLUMNS if width >= WIDE_FROM or column[0] not in WIDE]
    taken = sum(length + 1 for _, length in columns)
    signs = group_signs(comparison)
    longest = max(
        (len(sign) + 1 + len(group.title) for sign, group in zip(signs, comparison.groups, strict=True)), default=0
    )
    beside = longest + taken <= width
    margin = longest if beside else min(INDENT, max(0, width - taken))
    gap = " " if margin else ""  # separates the margin, if any, from the numbers
    headings = Text(" " * margin + gap + _padded([heading for heading, _ in columns], columns), style="dim")
    groups = []
    for number, (sign, group) in enumerate(zip(signs, comparison.groups, strict=True)):
        numbers = gap + _padded(group_numbers(group, wide=width >= WIDE_FROM), columns)
        title, *more = wrap(group.title, max(1, width - len(sign) - 1)) or [""]
        text = Text.assemble(
            (sign, colours[number] if number < len(colours) else ""), " ", (title, "bold" if group.is_baseline else "")
        )
        for rest in more:
            text.append(f"\n{' ' * (len(sign) + 1)}{rest}", style="bold" if group.is_baseline else "")
        text.append(" " * (margin - text.cell_len) if beside else f"\n{' ' * margin}").append(numbers)
        for note in group.notes:
            for line in wrap(note, max(1, width - INDENT)):
                text.append(f"\n{' ' * INDENT}{line}", style="yellow")
        groups.append(text)
    return ComparisonText(headings, tuple(groups), _differences(comparison, signs, width))


def group_signs(comparison: Comparison) -> list[str]:
    """The short name of each group: its number, with a star for the baseline."""
    length = len(str(len(comparison.groups)))
    return [
        f"{number:>{length}}{'★' if group.is_baseline else ' '}"
        for number, group in enumerate(comparison.groups, start=1)
    ]


def group_numbers(group: Group, *, wide: bool) -> list[str]:
    """The numbers of a group in the order of the columns."""
    paired = group.last_difference or group.best_difference
    numbers = {
        "n": str(group.last.count if group.last else len(group.runs)),
        "last %": spread_text(group.last),
        "best %": spread_text(group.best),
        "Δ last": spread_text(group.last_difference, signed=True),
        "Δ best": spread_text(group.best_difference, signed=True),
        "pairs": str(paired.count) if paired else "–",
        "s/epoch": fmt.number(group.epoch_s, 1 if (group.epoch_s or 0.0) >= 10.0 else 2),
        "samples/s": fmt.thousands(group.samples_per_s),
        "peak": fmt.size(group.mem_peak),
    }
    return [numbers[heading] for heading, _ in COLUMNS if wide or heading not in WIDE]


def comparison_plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON: fractions, seconds, bytes."""
    return {
        "groups": [_group_plain(group) for group in comparison.groups],
        "differences": [asdict(difference) for difference in comparison.differences],
        "left_out": [asdict(run) for run in comparison.excluded],
    }


def _group_plain(group: Group) -> dict[str, Any]:
    spreads = ("last", "best", "last_difference", "best_difference")
    return {
        "title": group.title,
        "experiment": group.experiment,
        "baseline": group.is_baseline,
        "ids": [one.run.id for one in group.runs],
        "seeds": [one.summary.seed for one in group.runs],
        **{name: vars(value) if (value := getattr(group, name)) else None for name in spreads},
        "epoch_s": group.epoch_s,
        "samples_per_s": group.samples_per_s,
        "mem_peak": group.mem_peak,
        "notes": list(group.notes),
    }


def _padded(words: Sequence[str], columns: Sequence[tuple[str, int]]) -> str:
    return " ".join(word.rjust(length) for word, (_, length) in zip(words, columns, strict=True))


def spread_text(values: Spread | None, *, signed: bool = False) -> str:
    """`95.61 ± 0.12` in percent; a single run has no deviation."""
    if values is None:
        return "–"
    mean = f"{100.0 * values.mean:{'+' if signed else ''}.2f}".replace("-", "−")
    return mean if values.std is None else f"{mean} ± {fmt.percent(values.std)}"


def _differences(comparison: Comparison, signs: Sequence[str], width: int) -> Text:
    """The settings that make groups different experiments, then other differences: each value with its groups."""
    if len(comparison.groups) < 2:
        return Text()
    if not comparison.differences:
        return Text("no setting differs", style="dim")
    longest = max(len(difference.key) for difference in comparison.differences)
    lines = [Text("differs", style="dim")]
    for difference in comparison.differences:
        style = "" if difference.role == "result" else "dim"
        values = "  ".join(_values(difference, signs))
        rows = wrap(values, max(1, width - longest - 2), break_long_words=True) or [""]
        heads = [one_line(difference.key), *[""] * (len(rows) - 1)]
        lines += [Text(f"{head:<{longest}}  {row}", style=style) for head, row in zip(heads, rows, strict=True)]
    return Text("\n").join(lines)


def _values(difference: Difference, signs: Sequence[str]) -> Iterable[str]:
    """Each value once with its groups, as `0.1 (1★, 3)`."""
    having: dict[str, list[str]] = {}
    for sign, value in zip(signs, difference.values, strict=True):
        having.setdefault(value_text(value), []).append(sign.strip())
    return (f"{value} ({', '.join(groups)})" for value, groups in having.items())
