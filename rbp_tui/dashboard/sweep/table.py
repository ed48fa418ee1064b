"""The table of settings × result: a row for each trial, in the order of what they have reached."""

from collections.abc import Collection
from itertools import accumulate

from rich.text import Text

from rbp_engine.report.sweep_table import SweepRow
from rbp_tui.dashboard.row_table import RowTable
from rbp_tui.dashboard.sweep.board import SweepBoard
from rbp_tui.text.sweep_text import sweep_columns
from rbp_tui.text.text_table import TextColumn

GAP = 2  # between two columns
MARK, BEST = "●", "✓"
#: Beside the columns: the mark and the scroll bar.
EDGE = 5


class SweepTable(RowTable[Text]):
    """Shows a `SweepBoard`; the cursor stays on its row."""

    #: Settings without room for a column: the last ones.
    left_out: tuple[str, ...] = ()

    @property
    def current(self) -> int | None:
        """The trial under the cursor."""
        return None if self.current_key is None else int(self.current_key)

    def show(self, board: SweepBoard, marked: Collection[int], width: int) -> None:
        """Show the rows of a sweep in a width."""
        rows = list(board.rows.values())
        trials, *settings, last, best, runs = sweep_columns(rows, board.keys, board.best)
        room = width - EDGE - sum(one.width + GAP for one in (trials, last, best, runs))
        fit = sum(taken <= room for taken in accumulate(one.width + GAP for one in settings))
        self.left_out = board.keys[fit:]
        marks = TextColumn("", [_mark(row, board, marked) for row in rows])
        self.show_columns([marks, trials, *settings[:fit], last, best, runs], [str(row.trial) for row in rows])


def _mark(row: SweepRow, board: SweepBoard, marked: Collection[int]) -> Text:
    is_best = row.trial == board.best and len(board.rows) > 1
    return Text.assemble((MARK if row.trial in marked else " ", "bold yellow"), (BEST if is_best else " ", "green"))
