"""The tab "Evaluation": what the trained network withstands, what it takes for what, and what an image costs."""

from collections.abc import Iterable

from rich.console import Group
from rich.text import Text
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from rbp_engine.printable import one_line
from rbp_engine.run.files.evaluation_json import Evaluation
from rbp_engine.run.files.layout import by_step
from rbp_tui.charts.energy_rows import energy_report
from rbp_tui.dashboard.network.tab import NetworkTab, foreign
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import energy_text
from rbp_tui.text.evaluation_text import evaluation_columns, heading
from rbp_tui.text.words import explained


class EvaluationTab(NetworkTab):
    """What `rbp eval RUN robustness classes` and `rbp eval RUN energy` have found about a run."""

    TITLE = "Evaluation"
    HELP = explained("synaptic operation", "AC", "MAC", "b-bit ANN")

    _drawn: tuple[object, ...] = ()

    def panes(self) -> Iterable[Widget]:
        yield Line("evaluation_state", wraps=True)
        with VerticalScroll(id="evaluation"), Container(id="evaluation_columns"):
            yield Static(id="evaluation_left")
            yield Static(id="evaluation_right")

    def show(self, sight: Sight | None, step: float | None) -> None:
        """Show what is known of the run; it is of its weights now, not of the step that is looked at."""
        if sight is None or (sight.evaluation == Evaluation() and sight.energy is None):
            self.say_nothing_yet("reading…" if sight is None else foreign(sight) or _how_to_evaluate(sight))
            return
        self.say_nothing_yet("")
        said = _how_to_evaluate(sight) if sight.evaluation == Evaluation() else _behind(sight)
        self.query_one("#evaluation_state", Line).show_or_hide(Text(said, "dim"))
        drawn = (sight.run, sight.evaluation, sight.energy)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        left, right = evaluation_columns(sight.evaluation)
        if sight.energy is not None:
            notes = Text(energy_text.notes(sight.energy), "dim")
            left = Group(left, heading("energy"), energy_report(sight.energy), notes)
        self.query_one("#evaluation_left", Static).update(left)
        self.query_one("#evaluation_right", Static).update(right)
        self.query_one("#evaluation", VerticalScroll).scroll_home(animate=False)


def _how_to_evaluate(sight: Sight) -> str:
    if not (sight.kept or sight.verdict.live):
        return "This run has no weights to evaluate."
    when = "Once it has ended, this" if sight.verdict.live else "This"
    command = one_line(f"rbp eval {sight.run.id} robustness classes")
    return f"{when} shows what its weights withstand and confuse:\n{command}"


def _behind(sight: Sight) -> str:
    """That training has gone on since; empty if it has not."""
    of = [part.of.checkpoint for part in (sight.evaluation.robustness, sight.evaluation.by_class) if part is not None]
    old = [one for one in of if one.startswith("step-") and by_step(one) < by_step(f"step-{sight.summary.step:08d}")]
    return f"training has gone on since: this is of {old[0]}, the newest step is {sight.summary.step}" if old else ""
