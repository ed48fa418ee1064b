"""The columns of lists of runs, in the dashboard and in `rbp ls`: their texts and widths, and which of them fit."""

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from rbp_engine.preset.experiment import is_ignored
from rbp_engine.preset.fields import by_key
from rbp_engine.printable import one_line
from rbp_engine.report.names import value_text
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.run_settings import differing_settings, dotted_key
from rbp_engine.run.store.store import RunRecord
from rbp_tui.text import format as fmt
from rbp_tui.text.setting_words import short_name

GAP = 1
UNKNOWN = "–"
WIDEST_SETTING, LEAST_WORD = 24, 8
#: As much of a reason is shown before less important columns; and no column is wider than WIDEST.
ENOUGH, WIDEST = 30, 200
#: Settings that the other columns of every list show already.
SHOWN_ANYWAY = frozenset({"data.name", "model.name", "method.name", "method.timesteps", "train.epochs", "run.seed"})
#: A list shows at most this many settings before less important columns, and the others after them.
SETTINGS_FIRST = 3


@dataclass(frozen=True)
class Column:
    """`width` is fixed; with `least` it is the maximum, and a narrow screen may shrink the column to `least`.

    `sort` is the query field that its heading sorts by, if any. An `always` column has a text for unreadable runs, too.
    A text that is too long for a `flowing` column begins in the columns to its left that are empty in its row; that of
    a `named` column loses its middle, because names often differ at their ends.
    """

    name: str
    width: int
    text_of: Callable[[RunRecord], str]
    sort: str = ""
    least: int | None = None
    right: bool = False
    always: bool = False
    flowing: bool = False
    named: bool = False
    heading: str = ""

    @property
    def title(self) -> str:
        """What stands above the column."""
        return self.heading or self.name

    def text(self, record: RunRecord) -> str:
        """The text of the column for a run."""
        return one_line(self.text_of(record)) if self.always or record.readable else ""


@dataclass(frozen=True)
class PlacedColumn:
    """A column with its width in the list, after the GAP."""

    column: Column
    width: int


_TEXTS: dict[str, Callable[[Any], str]] = {
    "accuracy": fmt.percent,
    "size": fmt.size,
    "span": fmt.duration,
    "time": lambda moment: time.strftime("%d %b %H:%M", time.localtime(moment)),
}


@functools.cache
def setting_column(name: str) -> Column:
    """The column of a setting, by its dotted key or short name, or of another field of the query language.

    Raises ValueError for an unknown field, and names the nearest one.
    """
    field, key = find_field(name), dotted_key(name)
    as_text = _TEXTS.get(field.kind, value_text)

    def text_of(record: RunRecord) -> str:
        value = field.get(record)
        ignored = key is not None and is_ignored(key, record.summary.method)  # a preset has one whatever its method
        if ignored or value is None or value == "" or value == ():
            return UNKNOWN
        return " ".join(map(str, value)) if isinstance(value, tuple) else as_text(value)

    heading = setting_heading(key) if key else field.name
    right = field.kind not in ("text", "any")
    least = WIDEST_SETTING if right else LEAST_WORD  # part of a number would be another number
    return Column(
        key or field.name, WIDEST_SETTING, text_of, key or field.name,
        least=least, right=right, heading=heading,
    )  # fmt: skip


def setting_heading(key: str) -> str:
    """The short name of a setting, or the last part of its key if no other field ends with it."""
    last = key.rpartition(".")[2]
    same = [known for known in by_key() if known.rpartition(".")[2] == last]
    return one_line(short_name(key) or (last if same in ([key], []) else key))


def timesteps_needed_text(record: RunRecord) -> str:
    """The smallest t that is nearly as accurate as T."""
    needed = record.summary.timesteps_needed
    return UNKNOWN if needed is None else str(needed)


def settings_worth_a_column(records: Sequence[RunRecord]) -> tuple[list[str], list[str]]:
    """The keys of the settings in which these runs differ, and that no other column shows: the first ones, and others.

    The first are settings in which runs of one label differ; of two labels, the label says that they do.
    """
    readable = [record for record in records if record.readable]
    by_label: dict[str, list[RunRecord]] = {}
    for record in readable:
        by_label.setdefault(record.summary.label, []).append(record)
    apart = {key for runs in by_label.values() for key in differing_settings(runs)}
    differing = [key for key in differing_settings(readable) if key not in SHOWN_ANYWAY]
    first = [key for key in differing if key in apart][:SETTINGS_FIRST]
    return first, [key for key in differing if key not in first]


def longest_texts(columns: Iterable[Column], records: Sequence[RunRecord]) -> dict[str, int]:
    """The width of the widest text of each column that has no fixed width."""
    return {column.name: longest_text(column, records) for column in columns if column.least is not None}


def longest_text(column: Column, records: Sequence[RunRecord]) -> int:
    """The width of the widest text of a column."""
    return max((cell_len(column.text(record)) for record in records), default=0)


def place(
    columns: Sequence[Column], tiers: Iterable[Iterable[str]], longest: Callable[[Column], int], width: int
) -> tuple[PlacedColumn, ...]:
    """The columns that fit, in their order; a narrow screen keeps those of the first tiers, and of a tier the first.

    `longest` is asked for the width of the widest text of a column that has no fixed width, unless it comes too late
    for any room; columns that are empty for all runs are left out. The texts of a tier are shown in full before columns
    of the next one; of a flowing column, which may need any room, enough.
    """
    by_name = {column.name: column for column in columns}
    taken: dict[str, int] = {}
    free = width
    for tier in tiers:
        full = False
        for name in dict.fromkeys(tier):
            column = by_name[name]
            if name in taken or not (column.least is None or longest(column)):
                continue
            least = _least_width(column, longest)
            full = least + GAP > free
            if full:
                break  # a narrower but less important column leaves its room to the others
            taken[name] = least
            free -= least + GAP
        free = _grow(taken, columns, longest, free, ENOUGH)
        if full:
            break
    _grow(taken, columns, longest, free)
    return tuple(PlacedColumn(column, taken[column.name]) for column in columns if column.name in taken)


def _grow(
    taken: dict[str, int], columns: Iterable[Column], longest: Callable[[Column], int], free: int, flowing: int = WIDEST
) -> int:
    """Widen columns as far as their texts need and the room allows; returns what is left of it.

    A flowing one is made no wider than `flowing`.
    """
    for column in columns:
        if column.name in taken:
            wanted = min(natural_width(column, longest), flowing if column.flowing else WIDEST)
            more = max(0, min(free, wanted - taken[column.name]))
            taken[column.name] += more
            free -= more
    return free


def _least_width(column: Column, longest: Callable[[Column], int]) -> int:
    natural = natural_width(column, longest)
    return natural if column.least is None else min(natural, max(column.least, cell_len(column.title)))


def natural_width(column: Column, longest: Callable[[Column], int]) -> int:
    """The width at which nothing of a column is cut, or its maximum."""
    if column.least is None:
        return max(column.width, cell_len(column.title))
    return max(cell_len(column.title), min(longest(column), column.width))


def fitted_row(texts: Sequence[str], placed: Sequence[PlacedColumn]) -> list[str]:
    """The texts of a row, each as wide as its column with the gap before it."""
    row = [_fitted(text, place) for text, place in zip(texts, placed, strict=True)]
    for end, place in enumerate(placed):
        if place.column.flowing and cell_len(texts[end]) > place.width:
            begin = end
            while begin and texts[begin - 1] in ("", UNKNOWN) and _room(placed[begin : end + 1]) < cell_len(texts[end]):
                begin -= 1
            row[begin : end + 1] = _flowing(texts[end], placed[begin : end + 1])
    return row


def _room(placed: Sequence[PlacedColumn]) -> int:
    return sum(GAP + place.width for place in placed) - GAP


def shortened(text: str, width: int, *, middle: bool = False) -> str:
    """A text cut at its end, or in its middle, to a width."""
    if cell_len(text) <= width:
        return text
    tail = ""
    for character in reversed(text) if middle else "":
        if cell_len(character + tail) > (width - 1) // 2:
            break
        tail = character + tail
    return f"{set_cell_size(text, max(0, width - 1 - cell_len(tail)))}…{tail}"


def _fitted(text: str, place: PlacedColumn) -> str:
    text = shortened(text, place.width, middle=place.column.named)
    room = " " * (place.width - cell_len(text))
    return " " * GAP + (f"{room}{text}" if place.column.right else f"{text}{room}")


def _flowing(text: str, placed: Sequence[PlacedColumn]) -> list[str]:
    """A text across several columns, in one piece for each."""
    left = " " * GAP + shortened(text, _room(placed))
    pieces = []
    for place in placed:
        width, piece = GAP + place.width, ""
        while left and cell_len(piece) + cell_len(left[0]) <= width:
            piece, left = piece + left[0], left[1:]
        pieces.append(set_cell_size(piece, width))
    return pieces
