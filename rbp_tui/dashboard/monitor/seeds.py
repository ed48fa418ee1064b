"""The seeds of one experiment as chips: `[1 ■] [2 ▶] [3 queued]`."""

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text

from rbp_engine.run.store.store import RunRecord
from rbp_tui.text.run_text import SIGNS, STYLES


def siblings(records: Sequence[RunRecord], run_id: str) -> list[RunRecord]:
    """The newest run of the same experiment for each seed, and the run itself; empty if the run is gone.

    Of the archived ones only the run itself.
    """
    own = next((record for record in records if record.run.id == run_id), None)
    if own is None:
        return []
    same = [record for record in records if record.summary.experiment == own.summary.experiment]
    by_seed = {record.summary.seed: record for record in same if not record.hidden}
    by_seed[own.summary.seed] = own
    return [by_seed[seed] for seed in sorted(by_seed)]


def chips_text(records: Sequence[RunRecord], shown: str, keys: str) -> Text:
    """A clickable chip for each run, the shown one marked, and the text `keys`. Empty for one run."""
    text = Text()
    if len(records) < 2:
        return text
    text.append(" seeds ", style="dim")
    for record in records:
        status = record.verdict.shown_status
        state = status if status == "queued" else SIGNS.get(status, status)
        style = Style.parse(STYLES.get(status, "")) + Style(
            reverse=record.run.id == shown, meta={"@click": f"screen.show_run('{record.run.id}')"}
        )
        text.append(f"[{record.summary.seed} {state}]", style=style).append(" ")
    return text.append(f" {keys}", style="dim")
