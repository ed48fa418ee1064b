"""The runs of a preset, in a table."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import DataTable

from rbp_engine.preset import LoadedPreset
from rbp_engine.run.store.store import RunRecord
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, short_id

COLUMNS = ("", "run", "last %", "best %", "method", "T", "seed", "epoch", "settings")
NUMBERS = ("last %", "best %", "T", "seed", "epoch")


def of_preset(loaded: LoadedPreset, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs started from a preset, and others with the same settings; the newest first."""
    return [
        record
        for record in reversed(records)
        if record.summary.preset == loaded.name or record.summary.experiment == loaded.experiment
    ]


def fill_runs(table: DataTable[Text], runs: Sequence[RunRecord], loaded: LoadedPreset) -> None:
    """Put the runs into the table; the cursor stays on its run."""
    keys = [record.run.id for record in runs]
    row = table.cursor_row
    at = str(table.ordered_rows[row].key.value) if 0 <= row < table.row_count else ""
    table.clear(columns=True)
    table.add_columns(*(Text(name, justify="right" if name in NUMBERS else "left") for name in COLUMNS))
    for record in runs:
        summary, status = record.summary, record.verdict.shown_status
        cells = (
            Text(SIGNS.get(status, " "), style=STYLES.get(status, "")),
            Text(short_id(summary)),
            Text(fmt.percent(summary.last.top1), justify="right"),
            Text(fmt.percent(summary.best.top1), justify="right"),
            Text(fmt.method(summary.method)),
            Text(str(summary.timesteps), justify="right"),
            Text(str(summary.seed), justify="right"),
            Text(f"{summary.epoch}/{summary.epochs}", justify="right"),
            Text("same" if summary.experiment == loaded.experiment else "other", style="dim"),
        )
        table.add_row(*cells, key=record.run.id)
    if at in keys:
        table.move_cursor(row=keys.index(at))
