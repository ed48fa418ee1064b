"""The cost of a launch, in the launch form: measured on request, in a thread, and cancelled with the form."""

import asyncio
import threading
import time
from collections.abc import Callable

from rich.text import Text
from textual import work
from textual.widgets import Static

from rbp_engine.bench.cost import Cost, predict_cost
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset
from rbp_tui.dashboard.launch.request import TypedRequest
from rbp_tui.dashboard.launch.sweep import is_sweep, sweep_cost
from rbp_tui.text import format as fmt
from rbp_tui.text.cost_text import cost_lines, cost_title, measuring, one_process_note, what_fits

# The lines of a cost that share a row, so that all of them fit on a small terminal.
ROWS = (("memory", "step"), ("epoch",), ("in all", "measured"))


class LaunchCost(Static):
    """The cost of the settings last measured; empty once they have changed."""

    @work(exclusive=True, group="cost")
    async def measure(self, typed: TypedRequest) -> None:
        """Measure one process of a launch, and cancel a running measurement."""
        begun, given_up = time.monotonic(), threading.Event()
        found = asyncio.create_task(asyncio.to_thread(measured_cost, typed, given_up.is_set))
        self._scroll_into_view()
        try:
            while not found.done():
                passed = fmt.duration(time.monotonic() - begun)
                self._show(Text(f"{measuring(typed.name)}… {passed}", style="dim"))
                await asyncio.wait([found], timeout=1.0)
        finally:
            given_up.set()
        self._show(found.result())
        self._scroll_into_view()

    def forget(self) -> None:
        """Cancel a running measurement, and show no cost."""
        self.workers.cancel_group(self, "cost")
        self._show(Text())

    def _show(self, text: Text) -> None:
        self.display = bool(text)
        self.update(text)

    def _scroll_into_view(self) -> None:
        """Scroll to the cost if the form does not fit on the screen, since the user has just asked for it."""
        self.call_after_refresh(self.scroll_visible, animate=False)


def measured_cost(typed: TypedRequest, given_up: Callable[[], bool]) -> Text:
    """The cost of a launch in words, or the reason why there is none; `given_up` is polled while it is measured."""
    try:
        # The data need not be here, and other runs do not matter: only the settings must be valid.
        if is_sweep(typed):
            return sweep_cost(typed, given_up)
        request = typed.request()
        loaded = request.load()
        cost = predict_cost(loaded, cancelled=given_up, quiet=True)
        return cost_text(loaded, cost, request.options.takes.processes)
    except UserError as error:
        return Text(str(error), style="red")


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
