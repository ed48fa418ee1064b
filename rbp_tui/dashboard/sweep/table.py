"""The table of settings × result: a row for each trial, in the order of what they have reached."""

from collections.abc import Collection, Sequence
from typing import TypeAlias

from rich.cells import cell_len
from rich.text import Text

from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.report.sweep_table import SweepRow, rank
from rbp_tui.dashboard.sweep.board import SweepBoard
from rbp_tui.dashboard.table import RowTable
from rbp_tui.text.comparison_columns import spread_text
from rbp_tui.text.run_columns import setting_heading
from rbp_tui.text.sweep_text import runs_text

WIDEST_VALUE, GAP = 24, 2
MARK, BEST = "●", "✓"
TRIAL, RUNS, LAST_TOP1, BEST_TOP1 = "#", "runs", "last %", "best %"
#: Beside the columns: the mark and the scroll bar.
EDGE = 3

#: The columns by name, each with its width and the gap before it.
Columns: TypeAlias = tuple[tuple[str, int], ...]


def ordered(board: SweepBoard) -> list[SweepRow]:
    """The best row first, then those with the most seeds done, then the best of them."""
    return sorted(board.rows.values(), key=rank, reverse=True)


class SweepTable(RowTable[Text]):
    """Shows a `SweepBoard`; the cursor stays on its row."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)
        self._columns: Columns = ()
        #: Settings without room for a column.
        self.left_out: tuple[str, ...] = ()

    @property
    def current(self) -> int | None:
        """The trial under the cursor."""
        return None if self.current_key is None else int(self.current_key)

    def show(self, board: SweepBoard, marked: Collection[int], width: int) -> None:
        """Show the rows of a sweep in a width."""
        rows, held = ordered(board), self.current_key
        columns, self.left_out = _placed(rows, board.keys, width)
        cells = {str(row.trial): _cells(row, columns, board, marked) for row in rows}
        if columns != self._columns:
            self.clear(columns=True)
            self._columns = columns
            for name, wide in columns:
                text = f"{' ' * GAP}{name}" if name == RUNS else _title(name).rjust(wide)
                self.add_column(Text(text), width=wide, key=name)
        self.show_rows(cells, held)


def _title(name: str) -> str:
    return name if name in ("", TRIAL, RUNS, LAST_TOP1, BEST_TOP1) else setting_heading(name)


def _placed(rows: Sequence[SweepRow], keys: Sequence[str], width: int) -> tuple[Columns, tuple[str, ...]]:
    """The columns with their widths, and the settings for which there is no room: the last ones."""
    widths = {
        TRIAL: max((len(str(row.trial)) for row in rows), default=1) + 1,
        RUNS: max([len(RUNS), *(runs_text(row).cell_len for row in rows)]),
        LAST_TOP1: max([len(LAST_TOP1), *(len(spread_text(row.last)) for row in rows)]) + 1,
        BEST_TOP1: max([len(BEST_TOP1), *(len(spread_text(row.best)) for row in rows)]) + 1,
    }
    free = width - EDGE - sum(wide + GAP for wide in widths.values())
    settings: dict[str, int] = {}
    for key in keys:
        values = (cell_len(_shown(row.values.get(key, ""))) for row in rows)
        wide = max([cell_len(_title(key)) + 1, *values])
        if wide + GAP > free:
            break
        settings[key] = wide
        free -= wide + GAP
    left_out = tuple(key for key in keys if key not in settings)
    widths = {TRIAL: widths[TRIAL], **settings, **{name: widths[name] for name in (LAST_TOP1, BEST_TOP1, RUNS)}}
    return (("", 2), *((name, wide + (GAP if name != TRIAL else 0)) for name, wide in widths.items())), left_out


def _shown(value: str) -> str:
    text = inside_a_run(value)
    return text if len(text) <= WIDEST_VALUE else f"{text[: WIDEST_VALUE - 1]}…"


def _cells(row: SweepRow, columns: Columns, board: SweepBoard, marked: Collection[int]) -> tuple[Text, ...]:
    is_best = row.trial == board.best and len(board.rows) > 1
    found = []
    for name, wide in columns:
        if not name:
            mark, best = MARK if row.trial in marked else " ", BEST if is_best else " "
            cell = Text.assemble((mark, "bold yellow"), (best, "green"))
        elif name == RUNS:
            cell = Text.assemble(" " * GAP, runs_text(row))
        else:
            text = _text_of(row, name)
            style = "dim" if name == TRIAL else "bold" if is_best else ""
            cell = Text.assemble(" " * max(0, wide - cell_len(text)), (text, style))
        cell.no_wrap = True
        found.append(cell)
    return tuple(found)


def _text_of(row: SweepRow, name: str) -> str:
    if name == TRIAL:
        return str(row.trial)
    if name in (LAST_TOP1, BEST_TOP1):
        return spread_text(row.last if name == LAST_TOP1 else row.best)
    return _shown(row.values.get(name, "")) or "–"
