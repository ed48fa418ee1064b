"""The tab "Alarms": what is wrong with the run, since when, what usually causes it, and what to change."""

from collections.abc import Iterable

from textual.widget import Widget

from rbp_engine.run.status.rules.table import alarms
from rbp_engine.run.status.samples import Floats
from rbp_tui.dashboard.network.tab import NetworkTab
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import TextPanel
from rbp_tui.text.alarm_text import alarms_text


class AlarmsTab(NetworkTab):
    """The alarms at the cursor, the first that came above the others; without any, what is checked."""

    TITLE = "Alarms"

    def panes(self) -> Iterable[Widget]:
        yield TextPanel("alarms")

    def show(self, sight: Sight | None, step: float | None) -> None:
        self.say_nothing_yet(_why_nothing(sight))
        if sight is None:
            return
        history = sight.history if step is None else sight.history.until(step)
        found = sight.alarms if step is None else alarms(history)
        self.query_one("#alarms", TextPanel).show_text(alarms_text(found, history))

    def steps(self, sight: Sight) -> Floats:
        loss = sight.history.curves.get("train/loss")
        return super().steps(sight) if sight.history.firing is not None or loss is None else loss.step


def _why_nothing(sight: Sight | None) -> str:
    if sight is None:
        return "reading…"
    if sight.history.firing is not None or "train/loss" in sight.history.curves:
        return ""
    if sight.verdict.live:
        return "Nothing to judge yet: the first sample comes after train.log_every steps."
    return "This run ended before train.log_every steps: there is nothing to judge."
