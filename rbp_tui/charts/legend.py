"""The first row of a chart: its title, each curve's value and best value, and the active options."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from rbp_tui.charts.look import Look
from rbp_tui.text.run_columns import shortened

Segments = list[Segment]


@dataclass(frozen=True)
class LegendEntry:
    """The legend of one curve: a key in its `style`, and text."""

    key: str
    label: str
    value: str
    best: str  # "★95.3@121"; empty without
    style: Style


def legend_row(width: int, title: str, cursor: str, entries: Sequence[LegendEntry], flags: str, look: Look) -> Segments:
    """The row in at most `width` cells: with the most detail that fits, then with fewer curves, then cut.

    Best values are dropped first, then the flags, then values, unless there is a cursor, then labels.
    """
    head = [part for part in (Segment(title, look.title), Segment(cursor, look.label)) if part.text]
    details = (
        [_entry(entry, look, label=True, best=True) for entry in entries],
        [_entry(entry, look, label=True) for entry in entries],
        *([] if cursor else [[_entry(entry, look, label=True, value=False) for entry in entries]]),
        [_entry(entry, look) for entry in entries],
    )
    room_for_flags = cell_len(flags) + 2 if flags else 0
    for number, parts in enumerate(details):
        row = _joined([*([part] for part in head), *parts], look)
        room = width - _length(row)
        if room >= (room_for_flags if number == 0 else 0):
            if flags and room >= room_for_flags:
                row += [Segment(" " * (room - cell_len(flags)), look.base), Segment(flags, look.label)]
            return row
    for shown in range(len(entries) - 1, 0, -1):
        more = [Segment(f"+{len(entries) - shown}", look.label)]
        row = _joined([*([part] for part in head), *details[-1][:shown], more], look)
        if _length(row) <= width:
            return row
    row = _joined(([part] for part in head), look)
    return row if _length(row) <= width else [Segment(shortened(title, width), look.title)]


def _entry(entry: LegendEntry, look: Look, *, label: bool = False, value: bool = True, best: bool = False) -> Segments:
    parts = [Segment(entry.key, entry.style)] if entry.key else []
    if label and entry.label:
        parts.append(Segment(f" {entry.label}" if entry.key else entry.label, look.label))
    if value and entry.value:
        parts.append(Segment(f" {entry.value}" if parts and label else entry.value, look.base))
    if best and entry.best:
        parts.append(Segment(f" {entry.best}", look.star))
    return parts


def _joined(parts: Iterable[Segments], look: Look) -> Segments:
    row: Segments = []
    for part in parts:
        if row:
            row.append(Segment("  ", look.base))
        row += part
    return row


def _length(row: Segments) -> int:
    return sum(cell_len(segment.text) for segment in row)
