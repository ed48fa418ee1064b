"""What the table of a sweep says of a row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rbp_engine.preset.own_code import inside_a_run
from rbp_engine.report.sweep_table import SweepRow
from rbp_tui.text.run_columns import setting_heading
from rbp_tui.text.run_text import SIGNS, STYLES

if TYPE_CHECKING:
    from rich.text import Text


def runs_text(row: SweepRow) -> "Text":
    """The runs of a row by status, each with its sign, as `■2 ▶1 47/100`; without colours the signs are enough."""
    from rich.text import Text

    statuses = [state.record.verdict.shown_status if state.record else "" for state in row.states]
    there = [status for status in SIGNS if status in statuses]
    parts = [Text(f"{SIGNS[status]}{statuses.count(status)}", STYLES[status]) for status in there]
    text = Text(" ").join(parts)
    if missing := statuses.count(""):
        text.append(f"{' ' if parts else ''}·{missing}", "dim")
    training = [record.summary for record in row.records if record.verdict.status in ("running", "stalled")]
    if training:
        text.append(f" {', '.join(f'{one.epoch}/{one.epochs}' for one in training)}", "dim")
    return text


def row_words(row: SweepRow) -> list[str]:
    """The settings of a row, as `T=4`."""
    return [f"{setting_heading(key)}={inside_a_run(value)}" for key, value in row.values.items()]


def legend(rows: Sequence[SweepRow]) -> list[str]:
    """The signs in the column of runs, each with what it means."""
    there = {record.verdict.shown_status for row in rows for record in row.records}
    signs = [f"{sign} {status}" for status, sign in SIGNS.items() if status in there]
    missing = any(state.record is None for row in rows for state in row.states)
    return [*signs, *(["· not there yet"] if missing else [])]
