"""The application: five screens as modes, one reader of files, and what every screen can do with a run."""

import asyncio
import contextlib
import gc
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.message import Message
from textual.screen import Screen

from rbp_engine.errors import UserError
from rbp_engine.run import control, start
from rbp_engine.run.files.annotations import change_tags, read_annotations, set_note, tag_words
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord, run_names
from rbp_tui.dashboard.command_palette import Palette
from rbp_tui.dashboard.compare.screen import CompareScreen
from rbp_tui.dashboard.dialogs import Ask, Confirm, Help
from rbp_tui.dashboard.keys import key_meaning, key_name, keys_file, read_keys
from rbp_tui.dashboard.launch.request import start_and_reap
from rbp_tui.dashboard.messages import ProblemMet, RunSeen, RunsListed, TrendsRead
from rbp_tui.dashboard.monitor.screen import MonitorScreen
from rbp_tui.dashboard.presets.actions import preset_of_run
from rbp_tui.dashboard.presets.screen import PresetsScreen
from rbp_tui.dashboard.reading.reader import RunsReader, Sight
from rbp_tui.dashboard.reading.sparklines import Trend
from rbp_tui.dashboard.runs.screen import RunsScreen
from rbp_tui.dashboard.runs.since_last_visit import since_you_left
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.dashboard.system.screen import SystemScreen
from rbp_tui.dashboard.themes import THEMES, default_theme
from rbp_tui.dashboard.view_state import ViewState, load_state, save_state


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
        Binding("1", "show('presets')", "show presets", id="screen.presets", show=False),
        Binding("2", "show('runs')", "show runs", id="screen.runs", show=False),
        Binding("3", "show('monitor')", "show monitor", id="screen.monitor", show=False),
        Binding("4", "show('compare')", "show compare", id="screen.compare", show=False),
        Binding("5", "show('system')", "show system", id="screen.system", show=False),
        Binding("question_mark", "help", "help", id="help", key_display="?", tooltip="list the keys of this screen"),
        Binding("q", "leave", "leave", id="leave", tooltip="leave the dashboard; runs go on"),
    ]

    def __init__(self, runs: Path) -> None:
        super().__init__()
        # Python looks for cycles after every 700 new objects; a long run is hundreds of thousands of them, and the
        # looking takes a quarter of the time that reading it does (benchmarks/dashboard_runs.py).
        gc.set_threshold(100_000, 20, 50)
        self.runs = runs
        self.state: ViewState = load_state()
        self.since = ""
        self.listed = False
        self.records: tuple[RunRecord, ...] = ()
        self.sights: dict[str, Sight] = {}
        self.trends: dict[str, Trend] = {}
        self.opened: str | None = None
        self.compared: list[str] = self.state.compared
        self.baseline: str | None = self.state.baseline or None
        self._clashes: list[list[str]] = []
        self.reader = RunsReader(
            runs,
            lambda records: self._post(RunsListed(records)),
            lambda sight: self._post(RunSeen(sight)),
            lambda trends: self._post(TrendsRead(trends)),
            lambda problem: self._post(ProblemMet(problem)),
        )

    def _post(self, message: Message) -> None:
        # The app may be closing while the reader's thread is still at work.
        with contextlib.suppress(RuntimeError):
            self.post_message(message)

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.state.theme if self.state.theme in self.available_themes else default_theme()
        self._take_keys()
        self._leave_on_signals()
        # With runs to look at it opens on them, else where a run is begun.
        self.switch_mode("runs" if _has_runs(self.runs) else "presets")
        self.reader.start()
        self._call_dispatcher()

    @work(thread=True)
    def _call_dispatcher(self) -> None:
        """Runs may have been left in the queue by a dispatcher that was killed."""
        with contextlib.suppress(UserError):
            start.ensure_dispatcher()

    def _take_keys(self) -> None:
        keys, problem = read_keys()
        self.set_keymap(keys)
        if problem:
            self.notify(problem, title="keys", severity="warning", timeout=15, markup=False)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        taken = sorted(binding.id or binding.action for binding in clashed_bindings)
        if taken not in self._clashes:  # told once: Textual says so at every key
            self._clashes.append(taken)
            self.notify(f"{' and '.join(taken)} have the same key in {keys_file()}", severity="warning", markup=False)

    def _leave_on_signals(self) -> None:
        """SIGTERM and SIGHUP leave like `q` does, so that the terminal is put back as it was."""
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))
        if not self.is_headless:
            self.set_interval(2.0, self._leave_without_a_terminal)

    def _leave_without_a_terminal(self) -> None:
        """A terminal may vanish without SIGHUP, where it does not control the session: leave then, not spin."""
        try:
            termios.tcgetattr(sys.__stdin__.fileno() if sys.__stdin__ else 0)
        except (termios.error, OSError, ValueError):
            self.exit(return_code=128 + signal.SIGHUP)

    def on_unmount(self) -> None:
        self.reader.stop()
        self.state.compared, self.state.baseline = self.compared, self.baseline or ""
        self.state.left_live = [record.run.id for record in self.live]
        self.state.theme = "" if self.theme == default_theme() else self.theme
        save_state(self.state)

    @on(RunsListed)
    def _runs_listed(self, message: RunsListed) -> None:
        if not self.listed:
            self.since = since_you_left(message.records, self.state.left_at, self.state.left_live)
        self.listed = True
        self.records = message.records
        self.sights = {run: sight for run, sight in self.sights.items() if any(r.run.id == run for r in self.records)}
        self._tell_screen("runs_changed")

    @on(RunSeen)
    def _run_seen(self, message: RunSeen) -> None:
        self.sights[message.sight.run.id] = message.sight
        self._tell_screen("sight_changed")

    @on(TrendsRead)
    def _trends_read(self, message: TrendsRead) -> None:
        self.trends |= message.trends
        self._tell_screen("trends_changed")

    @on(ProblemMet)
    def _problem_met(self, message: ProblemMet) -> None:
        self.notify(message.problem, severity="warning", timeout=15, markup=False)

    def _tell_screen(self, what: str) -> None:
        # While the app is closing, screens lose what is in them; one that is being made hears all when it is shown.
        if not self.is_running:
            return
        screen = self.screen if self.screen_stack else None
        if isinstance(screen, DashboardScreen) and screen.is_mounted:
            getattr(screen, what)()

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
        self._tell_screen("runs_changed")  # where the Monitor is shown already

    def compare(self, run_ids: list[str]) -> None:
        """Show runs side by side."""
        self.compared = run_ids
        self.switch_mode("compare")

    def action_command_palette(self) -> None:
        """Find an action, a run or a preset by name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

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
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.enabled and binding.id and binding.description:
                act = partial(self.run_action, binding.action, active.node)
                name = key_meaning(binding)
                yield SystemCommand(name[0].upper() + name[1:], f"key {key_name(self, binding)}", act)
        for record in reversed(self.records):
            run_id, status = record.run.id, record.verdict.status
            # There may be thousands: they are found by their names, and not all listed before anything is typed.
            yield SystemCommand(f"Open run {run_id}", status, partial(self.open_run, run_id), discover=False)
        from rbp_engine.preset import list_presets

        for entry in list_presets():
            yield SystemCommand(f"Preset {entry.name}", entry.title, lambda name=entry.name: self.choose_preset(name))

    async def choose_preset(self, name: str) -> None:
        """Show a preset on its screen."""
        await self.switch_mode("presets")
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
        self._act(f"resuming {run.id}", lambda: start_and_reap(run))

    @work(exclusive=True, group="clone")
    async def clone_run(self, run_id: str) -> None:
        """Write the settings of a run as a preset of the user's own, and edit that."""
        record = self.record_of(run_id)
        if record is None:
            return
        try:
            path = await preset_of_run(self, record)
        except UserError as error:
            self.notify(str(error), severity="error", timeout=8, markup=False)
            return
        if path is not None:
            await self.switch_mode("presets")
            if isinstance(self.screen, PresetsScreen):
                await self.screen.edit(path)

    def pin(self, run_id: str) -> None:
        """Hold other runs against this one; against none if it is the pinned one."""
        self.baseline = None if self.baseline == run_id else run_id
        self.notify(f"{run_id} is the baseline" if self.baseline else "no baseline", markup=False)

    def edit_tags(self, run: RunDirectory) -> None:
        """Ask for the tags of a run, as `TagWords.change` understands them."""
        record = self.record_of(run.id)
        had = () if record is None else read_annotations(run).tags(record.summary)

        def answered(words: str | None) -> None:
            if words is not None:
                added, removed = tag_words(words.split()).change(had)
                tags = [*(tag for tag in had if tag not in removed), *added]
                self._act(f"tags: {' '.join(tags) or 'none'}", lambda: change_tags(run, added, removed))

        question = f"Tags of {run.id}; a word that is left out goes, or +word adds and -word takes away"
        self.push_screen(Ask(question, " ".join(had)), answered)

    def edit_note(self, run: RunDirectory) -> None:
        """Ask for the note on a run."""

        def answered(note: str | None) -> None:
            if note is not None:
                self._act("note written" if note.strip() else "no note", lambda: set_note(run, note))

        self.push_screen(Ask(f"Note on {run.id}", read_annotations(run).note, lines=True), answered)

    @work(thread=True, group="runs")
    def _act(self, done: str, action: Callable[[], object]) -> None:
        """Do something with a run in a thread; what goes wrong is said once, in words."""
        try:
            action()
        except UserError as error:
            self.call_from_thread(self.notify, str(error), severity="error", timeout=8, markup=False)
        else:
            self.call_from_thread(self.notify, done, markup=False)


def _has_runs(runs: Path) -> bool:
    try:
        return bool(run_names(runs))
    except UserError:  # the reader tells of it
        return True


def main(runs: Path) -> int:
    """Run the dashboard over a runs directory until it is left; returns the exit code."""
    app = Dashboard(runs)
    app.run()
    return app.return_code or 0
