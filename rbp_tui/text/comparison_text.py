"""A comparison of runs as text and as JSON: what `rbp compare` prints and the dashboard shows."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from rich.cells import set_cell_size
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.report.compare import Comparison, Difference, Group
from rbp_engine.report.names import shown_value
from rbp_engine.report.spread import JUDGED, Spread
from rbp_tui.text.comparison_columns import ComparedColumn, columns_of, fitting

BASELINE = "◆"


@dataclass(frozen=True)
class ComparisonText:
    """The headings, a row for each group, and below them the notes and other differences; none exceeds the width."""

    headings: Text
    groups: tuple[Text, ...]
    below: Text

    @property
    def whole(self) -> Text:
        """All parts, one below the other."""
        parts = [self.headings, *self.groups, *([Text(), self.below] if self.below else [])]
        return Text("\n").join(parts)


def comparison_text(comparison: Comparison, width: int) -> ComparisonText:
    """One row for each experiment: the settings in which they differ, then their numbers; a diamond marks the baseline.

    The least important columns give way where there is no room.
    """

    def below(signs: Sequence[str], shown: Collection[str]) -> Text:
        others = [difference for difference in comparison.differences if difference.key not in shown]
        parts = (
            _judged(comparison, width),
            _notes(comparison, signs, width),
            _differences(others, comparison, signs, width),
        )
        return Text("\n\n").join(part for part in parts if part)

    return table_text(comparison, columns_of(comparison), width, below)


def table_text(
    comparison: Comparison,
    all_columns: Sequence[ComparedColumn],
    width: int,
    below: Callable[[Sequence[str], Collection[str]], Text],
) -> ComparisonText:
    """A row for each group with those of the columns that have room.

    `below` makes what follows the rows from the signs of the groups and the keys of the settings that have a column.
    """
    signs = group_signs(comparison)
    margin = len(signs[0]) if signs else 0
    columns = fitting(all_columns, width - margin - 1)
    headings = Text(" ".join([" " * margin, *(_padded(column.heading, column) for column in columns)]), "dim")
    groups = []
    for number, (sign, group) in enumerate(zip(signs, comparison.groups, strict=True)):
        cells = " ".join(_padded(column.cells[number], column) for column in columns)
        groups.append(Text(f"{sign} {cells}", style="bold" if group.is_baseline else ""))
    shown = {column.key for column in columns if column.key}
    hidden = dict.fromkeys(column.heading for column in all_columns if not column.key and column not in columns)
    no_room = Text("\n".join(wrap(f"no room for: {', '.join(hidden)}", width)) if hidden else "", "dim")
    parts = [part for part in (no_room, below(signs, shown)) if part]
    return ComparisonText(headings, tuple(groups), Text("\n\n").join(parts))


def _padded(word: str, column: ComparedColumn) -> str:
    return word.rjust(column.width) if column.right else set_cell_size(word, column.width)


def group_signs(comparison: Comparison) -> list[str]:
    """The short name of each group: its number, with a diamond for the baseline."""
    length = len(str(len(comparison.groups)))
    return [
        f"{number:>{length}}{BASELINE if group.is_baseline else ' '}"
        for number, group in enumerate(comparison.groups, start=1)
    ]


def comparison_plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON: fractions, seconds, bytes."""
    return {
        "groups": [_group_plain(number, group, comparison) for number, group in enumerate(comparison.groups)],
        "differences": [asdict(difference) for difference in comparison.differences],
        "left_out": [asdict(run) for run in comparison.excluded],
    }


def _group_plain(number: int, group: Group, comparison: Comparison) -> dict[str, Any]:
    spreads = ("last", "best", "last_difference", "best_difference")
    differing = [difference for difference in comparison.differences if difference.role == "result"]
    return {
        "title": group.title,
        "experiment": group.experiment,
        "baseline": group.is_baseline,
        "settings": {difference.key: difference.values[number] for difference in differing},
        "ids": [one.run.id for one in group.runs],
        "seeds": [one.summary.seed for one in group.runs],
        **{name: spread_plain(getattr(group, name)) for name in spreads},
        "verdict": group.judged.word if group.judged else None,
        "epoch_s": group.epoch_s,
        "samples_per_s": group.samples_per_s,
        "mem_peak": group.mem_peak,
        "notes": list(group.notes),
    }


def spread_plain(values: Spread | None) -> dict[str, Any] | None:
    """`interval` is half the width of the 95 % confidence interval of the mean."""
    return None if values is None else vars(values) | {"interval": values.interval}


def _judged(comparison: Comparison, width: int) -> Text:
    """What the verdicts mean, if there are any."""
    judged = any(group.judged for group in comparison.groups)
    return Text("\n".join(wrap(JUDGED, max(1, width))) if judged else "", style="dim")


def _notes(comparison: Comparison, signs: Sequence[str], width: int) -> Text:
    """The notes on groups, each once with the signs of its groups."""
    having: dict[str, list[str]] = {}
    for sign, group in zip(signs, comparison.groups, strict=True):
        for note in group.notes:
            having.setdefault(note, []).append(sign.strip())
    lines = [row for note, of in having.items() for row in wrap(f"{', '.join(of)}: {note}", max(1, width))]
    return Text("\n".join(lines), style="yellow")


def _differences(others: Sequence[Difference], comparison: Comparison, signs: Sequence[str], width: int) -> Text:
    """The differences that have no column: settings first, each value with its groups."""
    if len(comparison.groups) < 2 or (comparison.differences and not others):
        return Text()
    if not comparison.differences:
        return Text("no setting differs", style="dim")
    longest = max(len(difference.key) for difference in others)
    lines = [Text("also differs", style="dim")]
    for difference in others:
        style = "" if difference.role == "result" else "dim"
        values = "  ".join(_values(difference, signs))
        rows = wrap(values, max(1, width - longest - 2), break_long_words=True) or [""]
        heads = [one_line(difference.key), *[""] * (len(rows) - 1)]
        lines += [Text(f"{head:<{longest}}  {row}", style=style) for head, row in zip(heads, rows, strict=True)]
    return Text("\n").join(lines)


def _values(difference: Difference, signs: Sequence[str]) -> Iterable[str]:
    """Each value once with its groups, as `0.1 (1◆, 3)`."""
    having: dict[str, list[str]] = {}
    for sign, value in zip(signs, difference.values, strict=True):
        having.setdefault(shown_value(value), []).append(sign.strip())
    return (f"{value} ({', '.join(groups)})" for value, groups in having.items())
