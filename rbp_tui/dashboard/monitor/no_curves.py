"""In the place of the curves while there are none: what the run is doing, or the traceback of its failure."""

from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from rbp_engine.printable import one_line
from rbp_engine.run.files.events import ErrorRaised, Event
from rbp_tui.charts.run_curves import LOSS, TOP1
from rbp_tui.dashboard.monitor.log_tail import readable
from rbp_tui.dashboard.opened.state_text import RunState
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line, TextPanel


@dataclass(frozen=True)
class Notice:
    """A sentence, and the lines of a traceback; empty without one."""

    sentence: str
    traceback: tuple[str, ...] = ()


CURVES = {name for name, _, _ in (*LOSS, *TOP1)}


def has_curves(sight: Sight | None) -> bool:
    """Whether there is a point for the charts of loss and accuracy."""
    return sight is not None and bool(sight.history.curves.keys() & CURVES)


def notice(sight: Sight | None, state: RunState) -> Notice:
    """What stands in the place of the curves of a run that has none; the head has the reason of its end."""
    if sight is None:
        return Notice("reading…")
    failure = sight.history.failure
    if not sight.verdict.live and failure is not None and (lines := _traceback(failure)):
        of = f" of rank {failure.rank}" if len(sight.history.processes) > 1 else ""
        return Notice(f" traceback{of}", lines)
    if sight.problem:
        return Notice(sight.problem)
    if not sight.verdict.live:
        return Notice(f"{state.status} before the first point of a curve")
    if sight.verdict.status == "queued":
        return Notice("the curves begin when it has started")
    if state.doing:
        return Notice(f"{state.doing}…")
    return Notice("no curve has a point yet")


def _traceback(failure: Event) -> tuple[str, ...]:
    text = failure.body.traceback if isinstance(failure.body, ErrorRaised) else None
    return tuple(map(readable, text.rstrip().split("\n"))) if text and text.strip() else ()


class NoCurves(Vertical):
    """A sentence in the middle; or a traceback below its heading, scrolled to the end."""

    _shown: Notice | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="no_curves_sentence", wraps=True)
        yield TextPanel(id="no_curves_traceback")

    def show(self, shown: Notice) -> None:
        """Show it."""
        if shown == self._shown:
            return
        self._shown = shown
        self.set_class(bool(shown.traceback), "-traceback")
        self.query_one("#no_curves_sentence", Line).show_text(Text(one_line(shown.sentence), style="dim"))
        panel = self.query_one("#no_curves_traceback", TextPanel)
        panel.show_text(_traceback_text(shown.traceback))
        panel.anchor()


def _traceback_text(lines: tuple[str, ...]) -> Text:
    """The lines of a traceback, its last one marked; the signs under the code recede."""
    text = Text()
    for line in lines[:-1]:
        text.append(f"{line}\n", style="dim" if not line.strip(" ^~") else "")
    return text.append(lines[-1], style="red") if lines else text
