"""Views on a terminal that are redrawn in place: a picture of one run, a table of several."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from rbp_engine.run.files.events import from_json
from rbp_engine.run.history.history import HistoryBuilder
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import console
from rbp_tui.cli.runs.runs_table import placed_columns, runs_table
from rbp_tui.cli.train.picture import picture
from rbp_tui.cli.train.place import PhaseClock
from rbp_tui.cli.train.views import View

Draw: TypeAlias = Callable[[Sequence[RunRecord]], RenderableType]
# Without news, the picture changes only in the seconds that it counts.
REDRAW_S = 1.0


@contextmanager
def live_view(hint: str, *, several: bool) -> Iterator[View]:
    """A view on stdout that is redrawn in place, and leaves its last state standing."""
    with Live(console=console(), auto_refresh=False) as live:
        yield LiveTable(live, hint) if several else LivePicture(live, hint)


class LivePicture(View):
    """Progress, loss, accuracy, memory, speed and firing rates of one run."""

    def __init__(self, live: Live, hint: str) -> None:
        self._live = live
        self._hint = hint
        self._clock = PhaseClock()
        self._changed = True
        self._drawn = 0.0

        self._history = HistoryBuilder()

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        self._history.add(event for line in lines if (event := from_json(line)) is not None)
        self._changed = self._changed or bool(lines) or not record.verdict.live

    def show(self, records: Sequence[RunRecord]) -> None:
        console = self._live.console
        for record in records:
            phase = self._clock.text(record.summary)
            if not record.readable or not (self._changed or time.monotonic() - self._drawn >= REDRAW_S):
                continue
            self._changed, self._drawn = False, time.monotonic()
            self._live.update(picture(record, self._history.history(), self._hint, phase, console.size), refresh=True)


class LiveTable(View):
    """A table that `draw` makes of the runs; unless it `stays`, it makes room at the end for one that is printed."""

    def __init__(self, live: Live, hint: str, draw: Draw | None = None, *, stays: bool = True) -> None:
        self._live = live
        self._hint = hint
        self._draw = draw or self._list
        self._stays = stays

    def show(self, records: Sequence[RunRecord]) -> None:

        alive = any(record.verdict.live for record in records)
        self._live.transient = not (self._stays or alive)
        hint = self._hint if alive or not self._stays else ""
        below = Text(hint, style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(self._draw(records), below), refresh=True)

    def _list(self, records: Sequence[RunRecord]) -> RenderableType:
        placed, _ = placed_columns(records, self._live.console.width)
        return runs_table(records, placed)
