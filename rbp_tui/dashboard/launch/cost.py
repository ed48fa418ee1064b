"""The cost of a launch, in the launch form: measured on request, in a thread, and cancelled with the form."""

import contextlib
import time
from dataclasses import dataclass

from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import Worker, get_current_worker

from rbp_engine.bench.cost import Cost, predict_cost
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset
from rbp_tui.dashboard.launch.request import TypedRequest
from rbp_tui.text import format as fmt
from rbp_tui.text.cost_text import cost_lines, cost_title, measuring, one_process_note, what_fits

# The lines of a cost that share a row, so that all of them fit on a small terminal.
ROWS = (("memory", "step"), ("epoch",), ("in all", "measured"))


@dataclass
class CostFound(Message):
    """A measurement has ended, with a cost or an error."""

    worker: Worker[None]
    text: Text


class LaunchCost(Static):
    """The cost of the settings last measured; empty once they have changed."""

    def __init__(self) -> None:
        super().__init__(id="cost", markup=False)
        self._measurement: Worker[None] | None = None
        self._clock: Timer | None = None

    def measure(self, typed: TypedRequest) -> None:
        """Start measuring one process of a launch, and cancel a running measurement."""
        self.forget()
        self._begun = time.monotonic()
        self._preset_name = typed.name
        self._measurement = self._measure(typed)
        self._clock = self.set_interval(1.0, self._tick)
        self._tick()
        self._scroll_into_view()

    def forget(self) -> None:
        """Cancel a running measurement, and show no cost."""
        if self._measurement is not None:
            self._measurement.cancel()
        self._end()
        self._show(Text())

    @work(thread=True, group="cost")
    def _measure(self, typed: TypedRequest) -> None:
        worker = get_current_worker()
        try:
            # The data need not be here, and other runs do not matter: only the settings must be valid.
            request = typed.request()
            loaded = request.load()
            request.require_trust(loaded)
            cost = predict_cost(loaded, cancelled=lambda: worker.is_cancelled, quiet=True)
            text = cost_text(loaded, cost, request.takes.processes)
        except UserError as error:
            text = Text(str(error), style="red")
        with contextlib.suppress(RuntimeError):  # the app is closing
            self.post_message(CostFound(worker, text))

    @on(CostFound)
    def _found(self, message: CostFound) -> None:
        if message.worker is self._measurement:
            self._end()
            self._show(message.text)
            self._scroll_into_view()

    def _end(self) -> None:
        self._measurement = None
        if self._clock is not None:
            self._clock.stop()

    def _tick(self) -> None:
        passed = fmt.duration(time.monotonic() - self._begun)
        self._show(Text(f"{measuring(self._preset_name)}… {passed}", style="dim"))

    def _show(self, text: Text) -> None:
        self.display = bool(text)
        self.update(text)

    def _scroll_into_view(self) -> None:
        """Scroll to the cost if the form does not fit on the screen, since the user has just asked for it."""
        self.call_after_refresh(self.scroll_visible, animate=False)


def cost_text(loaded: LoadedPreset, cost: Cost, processes: int = 1) -> Text:
    """A cost in a few rows, and what would fit if it does not; `processes` is the launch's number of processes."""
    text = Text(cost_title(loaded, cost), style="bold")
    lines = dict(cost_lines(cost))
    for labels in ROWS:
        text.append("\n")
        for place, label in enumerate(labels):
            text.append("   " if place else "").append(f"{label} ", style="dim not bold").append(
                lines[label], "not bold"
            )
    if note := one_process_note(processes):
        text.append(f"\n{note}", "dim not bold")
    if problem := what_fits(cost):
        text.append("\n✗ ", style="red").append(problem, style="not bold")
    return text
