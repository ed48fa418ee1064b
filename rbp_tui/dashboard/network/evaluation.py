"""The tab "Evaluation": what the trained network withstands, what it takes for what, and what an image costs."""

import asyncio
from collections.abc import Iterable

import numpy as np
from rich.console import Group
from rich.text import Text
from textual import work
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from rbp_engine.printable import one_line
from rbp_engine.run.files.energy import Energy
from rbp_engine.run.files.evaluation_json import Evaluation, read_evaluation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.samples import Floats
from rbp_tui.charts.energy_rows import energy_report
from rbp_tui.dashboard.network.tab import NetworkTab, foreign
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text import energy_text
from rbp_tui.text.evaluation_text import evaluation_columns, heading
from rbp_tui.text.styled import styled

LOOK_EVERY_S = 2.0  # for what a command has found meanwhile
WIDE = 130


class EvaluationTab(NetworkTab):
    """What `rbp eval RUN robustness classes` has found about a run."""

    TITLE = "Evaluation"

    def __init__(self) -> None:
        super().__init__()
        self._sight: Sight | None = None
        self._found = Evaluation()
        self._drawn: tuple[object, ...] = ()

    def panes(self) -> Iterable[Widget]:
        yield Line("evaluation_state", wraps=True)
        with VerticalScroll(id="evaluation"), Container(id="evaluation_columns"):
            yield Static(id="evaluation_left")
            yield Static(id="evaluation_right")

    def on_mount(self) -> None:
        self.set_interval(LOOK_EVERY_S, self._look_again)

    def on_resize(self) -> None:
        self.query_one("#evaluation_columns").set_class(self.size.width >= WIDE, "-beside")

    def steps(self, sight: Sight) -> Floats:
        return np.empty(0)

    @property
    def _energy(self) -> Energy | None:
        """What an image costs, if that was measured."""
        return None if self._sight is None else self._sight.energy

    def show(self, sight: Sight | None, step: float | None) -> None:
        """Show what is known of the run; it is of its weights now, not of the step that is looked at."""
        other = self._run_of(sight) != self._run_of(self._sight)
        self._sight = sight
        if other:
            self._found = Evaluation()
        self._draw()
        self._show_state()
        self._look()

    @staticmethod
    def _run_of(sight: Sight | None) -> RunDirectory | None:
        return None if sight is None else sight.run

    @property
    def _is_seen(self) -> bool:
        return self.display and self.is_attached and self.screen.is_current

    def _look_again(self) -> None:
        if self._is_seen:
            self._look()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Read what the run's folder has."""
        sight = self._sight
        if sight is None:
            return
        found = await asyncio.to_thread(read_evaluation, sight.run)
        if self._run_of(self._sight) == sight.run:
            self._found = found
            self._draw()
            self._show_state()

    def _draw(self) -> None:
        drawn = (self._run_of(self._sight), self._found, self._energy)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        left, right = evaluation_columns(self._found)
        if self._energy is not None:
            notes = Text(energy_text.notes(self._energy), "dim")
            left = Group(left, heading("energy"), energy_report(self._energy), notes)
        self.query_one("#evaluation_left", Static).update(left)
        self.query_one("#evaluation_right", Static).update(right)
        if self._found == Evaluation():
            self.query_one("#evaluation", VerticalScroll).scroll_home(animate=False)

    def _show_state(self) -> None:
        """Say what to do, or that the evaluation is of older weights."""
        self.set_class(False, "-empty")
        if self._sight is None:
            said = Text("reading…", "dim")
        elif self._found == Evaluation():
            said = self._nothing_yet(self._sight)
            self.set_class(self._energy is None, "-empty")
        else:
            said = styled("[dim]{}[/]", _behind(self._found, self._sight))
        self.query_one("#evaluation_state", Line).show_or_hide(said)

    def _nothing_yet(self, sight: Sight) -> Text:
        if why := foreign(sight):
            return Text(why, "dim")
        command = one_line(f"rbp eval {sight.run.id} robustness classes")
        when = "Once it has ended, this" if sight.verdict.live else "This"
        return Text(f"This run has not been evaluated. {when} evaluates its weights:\n{command}", "dim")


def _behind(found: Evaluation, sight: Sight) -> str:
    """That training has gone on since; empty if it has not."""
    of = [part.of.checkpoint for part in (found.robustness, found.by_class) if part is not None]
    newest = f"step-{sight.summary.step:08d}"
    old = [checkpoint for checkpoint in of if checkpoint.startswith("step-") and checkpoint < newest]
    return f"training has gone on since: this is of {old[0]}, the newest step is {sight.summary.step}" if old else ""
