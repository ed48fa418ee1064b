"""The application: five screens as modes, one reader of files, and what every screen can do with a run."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from rbp_engine.errors import UserError
from rbp_engine.run import control, queue
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.store import RunRecord
from rbp_tui.dashboard.dialogs import Confirm, Help
from rbp_tui.dashboard.messages import RunSeen, RunsListed
from rbp_tui.dashboard.reader import RunsReader, Sight
from rbp_tui.dashboard.screens.compare import CompareScreen
from rbp_tui.dashboard.screens.monitor import MonitorScreen
from rbp_tui.dashboard.screens.presets import PresetsScreen
from rbp_tui.dashboard.screens.runs import RunsScreen
from rbp_tui.dashboard.screens.system import SystemScreen
from rbp_tui.dashboard.state import ViewState, load_state, save_state
from rbp_tui.dashboard.themes import THEMES


class Dashboard(App[None]):
    """`rbp` on a terminal. Quitting it leaves every run running."""

    CSS_PATH: ClassVar = "dashboard.tcss"
    TITLE = "rbp"
    MODES: ClassVar = {
        "presets": PresetsScreen,
        "runs": RunsScreen,
        "monitor": MonitorScreen,
        "compare": CompareScreen,
        "system": SystemScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "show('presets')", "Presets", id="screen.presets", show=False),
        Binding("2", "show('runs')", "Runs", id="screen.runs", show=False),
        Binding("3", "show('monitor')", "Monitor", id="screen.monitor", show=False),
        Binding("4", "show('compare')", "Compare", id="screen.compare", show=False),
        Binding("5", "show('system')", "System", id="screen.system", show=False),
        Binding("question_mark", "help", "help", id="help", key_display="?"),
        Binding("q", "leave", "leave", id="leave"),
    ]

    def __init__(self, runs: Path) -> None:
        super().__init__()
        self.runs = runs
        self.state: ViewState = load_state()
        self.left_at = self.state.left_at
        self.records: tuple[RunRecord, ...] = ()
        self.sights: dict[str, Sight] = {}
        self.opened: str | None = None
        self.compared: list[str] = []
        self.reader = RunsReader(
            runs,
            lambda records: self._post(RunsListed(records)),
            lambda sight: self._post(RunSeen(sight)),
        )

    def _post(self, message: RunsListed | RunSeen) -> None:
        # The app may be closing while the reader's thread is still at work.
        with contextlib.suppress(RuntimeError):
            self.post_message(message)

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.state.theme if self.state.theme in self.available_themes else "rbp-dark"
        # With runs to look at it opens on them, else where a run is begun.
        has_runs = self.runs.is_dir() and any(os.scandir(self.runs))
        self.switch_mode("runs" if has_runs else "presets")
        self.reader.start()
        self._call_dispatcher()

    @work(thread=True)
    def _call_dispatcher(self) -> None:
        """Runs may have been left in the queue by a dispatcher that was killed."""
        with contextlib.suppress(UserError):
            queue.ensure_dispatcher()

    def on_unmount(self) -> None:
        self.reader.stop()
        self.state.theme = self.theme
        save_state(self.state)

    @on(RunsListed)
    def _runs_listed(self, message: RunsListed) -> None:
        self.records = message.records
        self.sights = {run: sight for run, sight in self.sights.items() if any(r.run.id == run for r in self.records)}
        self._tell_screen("runs_changed")

    @on(RunSeen)
    def _run_seen(self, message: RunSeen) -> None:
        self.sights[message.sight.run.id] = message.sight
        self._tell_screen("sight_changed")

    def _tell_screen(self, what: str) -> None:
        handler: Callable[[], None] | None = getattr(self.screen, what, None)
        if handler is not None:
            handler()

    def record_of(self, run_id: str | None) -> RunRecord | None:
        """The record of a run as last read; None if it is gone."""
        return next((record for record in self.records if record.run.id == run_id), None)

    def sight_of(self, run_id: str | None) -> Sight | None:
        """What is known of a run that is being read; None if it is not, or not yet."""
        return self.sights.get(run_id or "")

    @property
    def live(self) -> list[RunRecord]:
        return [record for record in self.records if record.verdict.live]

    def action_show(self, mode: str) -> None:
        """Show one of the five screens."""
        self.switch_mode(mode)

    def open_run(self, run_id: str) -> None:
        """Show a run in the Monitor."""
        self.opened = run_id
        self.switch_mode("monitor")

    def compare(self, run_ids: list[str]) -> None:
        """Show runs side by side."""
        self.compared = run_ids
        self.switch_mode("compare")

    def action_help(self) -> None:
        """List what the keys do here."""
        self.push_screen(Help(self.screen))

    def action_leave(self) -> None:
        """Leave the dashboard; runs go on. Asks where some are live."""
        if not self.live:
            self.exit()
            return
        count = len(self.live)
        text = f"{count} run{' is' if count == 1 else 's are'} live and will go on. Leave the dashboard?"

        def answered(leave: bool | None) -> None:
            if leave:
                self.exit()

        self.push_screen(Confirm(text, "leave"), answered)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        for number, mode in enumerate(self.MODES, start=1):
            yield SystemCommand(f"Show {mode}", f"The same as {number}", lambda mode=mode: self.action_show(mode))
        for record in reversed(self.records):
            run_id = record.run.id
            yield SystemCommand(
                f"Open run {run_id}", record.verdict.status, lambda run_id=run_id: self.open_run(run_id)
            )
        from rbp_engine.preset import list_presets

        for entry in list_presets():
            yield SystemCommand(f"Preset {entry.name}", entry.title, lambda name=entry.name: self.choose_preset(name))

    def choose_preset(self, name: str) -> None:
        """Show a preset on its screen."""
        self.switch_mode("presets")
        if isinstance(self.screen, PresetsScreen):
            self.screen.choose(name)

    def stop_run(self, run: RunDirectory) -> None:
        """Ask a run to save and end."""
        self._act(f"asked {run.id} to stop", lambda: control.request_stop(run))

    def kill_run(self, run: RunDirectory) -> None:
        """End a run at once, after a question."""

        def answered(kill: bool | None) -> None:
            if kill:
                self._act(f"killed {run.id}", lambda: control.kill(run))

        text = f"Kill {run.id}? What came after its last checkpoint is lost."
        self.push_screen(Confirm(text, "kill"), answered)

    def resume_run(self, run: RunDirectory) -> None:
        """Go on with a run from its newest checkpoint."""
        self._act(f"resuming {run.id}", lambda: _start_and_reap(run))

    @work(thread=True, group="runs")
    def _act(self, done: str, action: Callable[[], object]) -> None:
        """Do something with a run in a thread; what goes wrong is said once, in words."""
        try:
            action()
        except UserError as error:
            self.call_from_thread(self.notify, str(error), severity="error", timeout=8)
        else:
            self.call_from_thread(self.notify, done)


def _start_and_reap(run: RunDirectory) -> None:
    """Start a worker, or queue the run; a thread waits for the worker's end, or it would stay behind as a zombie."""
    worker = queue.begin(run)
    if worker is not None:
        threading.Thread(target=worker.wait, daemon=True).start()


def main(runs: Path) -> None:
    """Run the dashboard over a runs directory until it is left."""
    Dashboard(runs).run()
