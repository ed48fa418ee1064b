"""Actions on runs that wait in the queue: pause, order; and back into it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from rbp_engine.errors import UserError
from rbp_engine.run import start
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue import arrange
from rbp_engine.run.queue.entries import entry_of
from rbp_engine.run.queue.observe import is_paused
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.run_control import RunControlScreen
from rbp_tui.text.run_text import named


class QueueActions(RunControlScreen):
    """The keys of the Runs screen that act on those of the chosen runs that wait."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "pause or go on", id="runs.pause", show=False,
                tooltip="pause the waiting runs, or let them go on"),
        Binding("Q", "pause_all", "pause the queue", id="runs.pause_queue", show=False,
                tooltip="pause the whole queue of this host, or let it go on"),
        Binding("shift+up", "earlier", "earlier in the queue", id="runs.earlier", show=False,
                tooltip="move the waiting run forward in the queue by one"),
        Binding("shift+down", "later", "later in the queue", id="runs.later", show=False,
                tooltip="move the waiting run back in the queue by one"),
        Binding("shift+home", "to_front", "to the front of the queue", id="runs.to_front", show=False,
                tooltip="move the waiting runs to the front of the queue"),
        Binding("shift+end", "to_end", "to the end of the queue", id="runs.to_end", show=False,
                tooltip="move the waiting runs to the end of the queue"),
        Binding("R", "retry", "retry in the queue", id="runs.retry", show=False,
                tooltip="put runs that failed, or ended before their end, back into the queue"),
    ]  # fmt: skip

    @property
    def targets(self) -> list[RunRecord]:
        """The runs that an action applies to."""
        raise NotImplementedError

    def any_of(self, fitting: Sequence[RunRecord], verb: str) -> bool:
        """Whether there is anything to do; if not, notify the user why."""
        raise NotImplementedError

    def action_pause(self) -> None:
        """Pass the waiting runs over until they may go on; let them go on if all of them are paused."""
        if runs := self._waiting("pause"):
            if all((entry := entry_of(run)) is not None and entry.paused for run in runs):
                self._arrange(lambda: arrange.go_on(runs), f"{named(runs)} may start")
            else:
                self._arrange(lambda: arrange.pause(runs), f"paused {named(runs)}")

    def action_pause_all(self) -> None:
        """Start nothing that waits, or end that."""
        if is_paused():
            self._arrange(arrange.go_on_all, "the queue goes on")
        else:
            self._arrange(arrange.pause_all, "the queue of this host is paused; what runs goes on")

    def action_earlier(self) -> None:
        """Move the waiting run forward by one."""
        for run in self._waiting("move")[:1]:
            self._arrange(partial(arrange.move_by_one, run, later=False), "")

    def action_later(self) -> None:
        """Move the waiting run back by one."""
        for run in self._waiting("move")[:1]:
            self._arrange(partial(arrange.move_by_one, run, later=True), "")

    def action_to_front(self) -> None:
        """Move the waiting runs to the front."""
        if runs := self._waiting("move"):
            self._arrange(lambda: arrange.move_first(runs), f"moved {named(runs)} to the front of the queue")

    def action_to_end(self) -> None:
        """Move the waiting runs to the end."""
        if runs := self._waiting("move"):
            self._arrange(lambda: arrange.move_last(runs), f"moved {named(runs)} to the end of the queue")

    def action_retry(self) -> None:
        """Put runs that have ended before their end back into the queue."""
        fitting = [record for record in self.targets if record.verdict.resumable]
        if self.any_of(fitting, "retry"):
            self.act_on([record.run for record in fitting], start.requeue, lambda which: f"{which} in the queue again")

    def _waiting(self, verb: str) -> list[RunDirectory]:
        fitting = [record for record in self.targets if record.verdict.status == "queued"]
        return [record.run for record in fitting] if self.any_of(fitting, verb) else []

    @work(thread=True, group="runs")
    def _arrange(self, change: Callable[[], object], done: str) -> None:
        """Change the queue in a thread, for another process may have its lock."""
        try:
            change()
            start.ensure_dispatcher()
        except UserError as error:
            self.notify(str(error), severity="error", timeout=8, markup=False)
        else:
            if done:
                self.notify(done, markup=False)
