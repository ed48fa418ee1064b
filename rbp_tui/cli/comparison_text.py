"""A comparison of runs as text and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rbp_tui import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rbp_engine.report.compare import Comparison, Group
    from rbp_engine.report.spread import Spread

# Heading and width of the numbers; what fits 80 columns, and what comes with more room.
NUMBERS = (
    ("n", 2),
    ("last %", 13),
    ("best %", 13),
    ("Δ last", 13),
    ("s/epoch", 8),
    ("samples/s", 9),
    ("peak", 8),
)
WIDE = ("Δ best", 13)
WIDE_FROM = 100
INDENT = 4


def comparison_text(comparison: "Comparison", width: int) -> "RenderableType":
    """The experiments with their numbers, then what differs; the star marks the baseline.

    Titles stand in front of the numbers where the screen has the room, else on lines of their own.
    """
    from rich.console import Group as Lines
    from rich.text import Text

    columns = [*NUMBERS[:4], *([WIDE] if width >= WIDE_FROM else []), *NUMBERS[4:]]
    taken = sum(length + 1 for _, length in columns)
    titles = [
        f"{number}{'★' if group.is_baseline else ' '} {group.title}"
        for number, group in enumerate(comparison.groups, start=1)
    ]
    longest = max(map(len, titles))
    beside = longest + taken <= width
    margin = longest if beside else min(INDENT, max(0, width - taken))
    lines = [Text(" " * margin + _padded([heading for heading, _ in columns], columns), style="dim", no_wrap=True)]
    for group, title in zip(comparison.groups, titles, strict=True):
        numbers = _padded(_numbers(group, wide=width >= WIDE_FROM), columns)
        style = "bold" if group.is_baseline else ""
        if beside:
            lines.append(Text.assemble((title.ljust(margin), style), numbers, no_wrap=True))
        else:
            lines += [Text(title, style=style, overflow="fold"), Text(" " * margin + numbers, no_wrap=True)]
        lines += [Text(f"{' ' * INDENT}{note}", style="yellow") for note in group.notes]
    if len(comparison.groups) == 1:
        return Lines(*lines)
    return Lines(*lines, Text(), _differences(comparison))


def comparison_plain(comparison: "Comparison") -> dict[str, Any]:
    """The comparison for JSON: fractions, seconds, bytes."""
    return {
        "groups": [_group_plain(group) for group in comparison.groups],
        "differences": [asdict(difference) for difference in comparison.differences],
        "left_out": [asdict(left) for left in comparison.left_out],
    }


def _group_plain(group: "Group") -> dict[str, Any]:
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


def _numbers(group: "Group", *, wide: bool) -> list[str]:
    return [
        str(group.last.count if group.last else len(group.runs)),
        _spread(group.last),
        _spread(group.best),
        _spread(group.last_difference, signed=True),
        *([_spread(group.best_difference, signed=True)] if wide else []),
        fmt.number(group.epoch_s, 1 if (group.epoch_s or 0.0) >= 10.0 else 2),
        fmt.thousands(group.samples_per_s),
        fmt.size(group.mem_peak),
    ]


def _padded(words: Sequence[str], columns: Sequence[tuple[str, int]]) -> str:
    return "".join(f" {word.rjust(length)}" for word, (_, length) in zip(words, columns, strict=True))


def _spread(values: "Spread | None", *, signed: bool = False) -> str:
    """`95.61 ± 0.12` in percent; a single run has no deviation."""
    if values is None:
        return "–"
    mean = f"{100.0 * values.mean:{'+' if signed else ''}.2f}".replace("-", "−")
    return mean if values.std is None else f"{mean} ± {fmt.percent(values.std)}"


def _differences(comparison: "Comparison") -> "RenderableType":
    """Settings that make the experiments different, then what else was not the same."""
    from rich.table import Table
    from rich.text import Text

    from rbp_engine.report.names import one_line, value_text

    if not comparison.differences:
        return Text("no setting differs", style="dim")
    table: Table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("differs", no_wrap=True)
    for number, group in enumerate(comparison.groups, start=1):
        table.add_column(f"{number}{'★' if group.is_baseline else ''}", overflow="fold")
    for difference in comparison.differences:
        style = "" if difference.role == "result" else "dim"
        values = (Text(value_text(value), style=style) for value in difference.values)
        table.add_row(Text(one_line(difference.key), style=style), *values)
    return table
