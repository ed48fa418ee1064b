"""The application: screens as modes, news for the current one, and navigation between them."""

import asyncio
import contextlib
import gc
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import Screen
from textual.widgets import HelpPanel
from textual.worker import WorkerFailed

from rbp_engine.errors import UserError
from rbp_engine.plan.states import sweep_of
from rbp_engine.run import start
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import run_names
from rbp_tui.dashboard.command_palette import commands_of_keys, commands_of_names
from rbp_tui.dashboard.compare.compare_screen import CompareScreen
from rbp_tui.dashboard.dialogs import ConfirmLeaving
from rbp_tui.dashboard.keys import keys_file, read_keys
from rbp_tui.dashboard.keys_in_turn import OPENING, PATIENCE_S, KeysInTurn
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.launch.sweep import TypedSweep, typed_sweep
from rbp_tui.dashboard.launch.typed_request import TypedRequest, typed_again
from rbp_tui.dashboard.line_filters import DimFilter, PrintableFilter
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.network.network_screen import NetworkScreen
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen, preset_of_run
from rbp_tui.dashboard.reading.hosts import HostSeen
from rbp_tui.dashboard.reading.reader import ProblemMet, RunSeen, RunsListed, TrendsRead
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.dashboard.session import Session
from rbp_tui.dashboard.sweep.board import SweepSource
from rbp_tui.dashboard.sweep.sweep_screen import SweepScreen
from rbp_tui.dashboard.system.system_screen import SystemScreen
from rbp_tui.dashboard.textual_faults import Palette
from rbp_tui.dashboard.themes import DARK_WORDS, LIGHT_WORDS, THEMES, default_theme
from rbp_tui.text.format import counted


class Dashboard(KeysInTurn):
    """`rbp` on a terminal. Quitting it leaves every run running."""

    CSS_PATH: ClassVar = "dashboard.tcss"
    TITLE = "rbp"
    ALLOW_IN_MAXIMIZED_VIEW = "Footer"
    MODE_SCREENS: ClassVar[dict[str, type[DashboardScreen]]] = {
        "presets": PresetsScreen,
        "runs": RunsScreen,
        "monitor": MonitorScreen,
        "compare": CompareScreen,
        "system": SystemScreen,
        "network": NetworkScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "switch_mode('presets')", "show presets", id="screen.presets", show=False),
        Binding("2", "switch_mode('runs')", "show runs", id="screen.runs", show=False),
        Binding("3", "switch_mode('monitor')", "show monitor", id="screen.monitor", show=False),
        Binding("4", "switch_mode('compare')", "show compare", id="screen.compare", show=False),
        Binding("5", "switch_mode('system')", "show system", id="screen.system", show=False),
        Binding("6", "switch_mode('network')", "show network", id="screen.network", show=False),
        Binding(
            "question_mark,f1",
            "help",
            "help",
            id="help",
            key_display="?",
            tooltip="with keys; again for more, Esc hides it",
        ),
        Binding("escape", "hide_help_panel", "hide the help", id="help.hide", show=False, priority=True),
        Binding("q,ctrl+c", "leave", "leave", id="leave", tooltip="while runs go on"),
    ]

    def __init__(self, runs: Path) -> None:
        super().__init__()
        # Python collects cycles after every 700 new objects; a long run has hundreds of thousands of them, and the
        # collections take a quarter of the time of reading it.
        gc.set_threshold(100_000, 20, 50)
        self.session = Session(runs, self, self._post)
        for name, screen in self.MODE_SCREENS.items():
            self.add_mode(name, partial(screen, self.session))
        self._clashes: list[list[str]] = []
        self.set_reactive(App.ansi_theme_dark, DARK_WORDS)
        self.set_reactive(App.ansi_theme_light, LIGHT_WORDS)
        self._dim = {True: DimFilter(DARK_WORDS), False: DimFilter(LIGHT_WORDS)}
        self._printable = PrintableFilter()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, one for "dim" text, and one for what a terminal would obey."""
        dim = () if self.native_ansi_color else (self._dim[self.current_theme.dark],)
        return [*dim, *super().get_line_filters(), self._printable]

    def _post(self, message: Message) -> None:
        # The app may be closing while the reader's thread still works.
        with contextlib.suppress(RuntimeError):
            self.post_message(message)

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.session.state.theme if self.session.state.theme in self.available_themes else default_theme()
        self._read_keys()
        self.take_keys()
        self._leave_on_signals()
        # Start with the runs if there are any, else where a run is launched.
        self.switch_mode("runs" if _has_runs(self.session.runs) else "presets")
        self.session.start()
        self._call_dispatcher()

    def _handle_exception(self, error: Exception) -> None:
        """Say what a worker raises for the user."""
        if isinstance(error, WorkerFailed) and isinstance(error.error, UserError):
            self.notify(str(error.error), severity="error", timeout=10, markup=False)
        else:
            super()._handle_exception(error)

    @work(thread=True)
    def _call_dispatcher(self) -> None:
        """Start a dispatcher if a killed one left runs in the queue."""
        with contextlib.suppress(UserError):
            start.ensure_dispatcher()

    def _read_keys(self) -> None:
        keys, problem = read_keys()
        self.set_keymap(keys)
        if problem:
            self.notify(problem, title="keys", severity="warning", timeout=15, markup=False)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        taken = sorted(binding.id or binding.action for binding in clashed_bindings)
        if taken not in self._clashes:  # reported once: Textual does so at every key
            self._clashes.append(taken)
            self.notify(f"{' and '.join(taken)} have the same key in {keys_file()}", severity="warning", markup=False)

    def _leave_on_signals(self) -> None:
        """Let SIGTERM and SIGHUP quit like `q`, so that the terminal is restored."""
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))
        if not self.is_headless:
            self.set_interval(2.0, self._leave_without_a_terminal)

    def _leave_without_a_terminal(self) -> None:
        """Quit if the terminal has vanished without SIGHUP, as it may if it does not control the session."""
        try:
            termios.tcgetattr(sys.__stdin__.fileno() if sys.__stdin__ else 0)
        except (termios.error, OSError, ValueError):
            self.exit(return_code=128 + signal.SIGHUP)

    def on_unmount(self) -> None:
        self.session.leave(theme="" if self.theme == default_theme() else self.theme)

    @on(RunsListed)
    def _runs_listed(self, message: RunsListed) -> None:
        self.session.take_records(message.records)
        if (screen := self._shown) is not None:
            screen.runs_changed()

    @on(RunSeen)
    def _run_seen(self, message: RunSeen) -> None:
        self.session.sights[message.sight.run.id] = message.sight
        if (screen := self._shown) is not None:
            screen.sight_changed()

    @on(TrendsRead)
    def _trends_read(self, message: TrendsRead) -> None:
        self.session.trends |= message.trends
        if (screen := self._shown) is not None:
            screen.list_changed()

    @on(HostSeen)
    def _host_seen(self, message: HostSeen) -> None:
        self.session.hosts[message.sight.name] = message.sight
        if (screen := self._shown) is not None:
            screen.list_changed()

    @on(ProblemMet)
    def _problem_met(self, message: ProblemMet) -> None:
        self.notify(message.problem, severity="warning", timeout=15, markup=False)

    @property
    def _shown(self) -> DashboardScreen | None:
        """The screen that receives news, also behind a dialog; None while there is none."""
        # While the app is closing, screens lose their widgets; a new screen gets all news when it is shown.
        screens = reversed(self.screen_stack if self.is_running else ())
        screen = next((one for one in screens if isinstance(one, DashboardScreen)), None)
        return screen if screen is not None and screen.is_mounted else None

    def ready_for(self, key: str) -> bool:
        """Whether the screen has read what a key acts on; one that takes very long is not waited for."""
        screen = self.screen
        if not isinstance(screen, DashboardScreen) or key in self._bindings.key_to_bindings:  # it needs no run
            return super().ready_for(key)
        return screen.is_mounted and (screen.ready or time.monotonic() > screen.resumed_at + PATIENCE_S)

    def open_run(self, run_id: str) -> None:
        """Show a run in the Monitor."""
        self.session.opened = run_id
        self.switch_mode("monitor")
        if (screen := self._shown) is not None:  # if the Monitor is shown already
            screen.runs_changed()

    def compare(self, run_ids: Sequence[str]) -> None:
        """Show runs side by side."""
        self.session.state.compared = list(run_ids)
        self.switch_mode("compare")

    def launch_preset(self, path: Path, name: str) -> None:
        """Open the launch form for a preset; nothing is created before it is confirmed."""
        self._launch(TypedRequest(path, name, self.session.runs))

    @work(exclusive=True, group=OPENING)
    async def run_again(self, run_id: str) -> None:
        """Open the launch form filled from a run; nothing is created before it is confirmed."""
        run = RunDirectory(self.session.runs / run_id)
        self._launch(await asyncio.to_thread(typed_again, run, self.session.runs))

    @work
    async def _launch(self, typed: TypedRequest) -> None:
        if any(isinstance(screen, LaunchForm) for screen in self.screen_stack):  # two quick Enters
            return
        launched = await self.push_screen_wait(LaunchForm(typed, self.session))
        if launched is None:
            return
        if launched.sweep is not None:
            await self._show_typed_sweep(launched.sweep)
            if launched.sweep.plan is not None:
                count = len(launched.runs)
                said = f"{count} runs train or wait for devices" if count or launched.refused else "nothing is missing"
                self.notify(said, timeout=5, markup=False)
            if launched.refused:
                why, *others = launched.refused
                said = f"not resumed: {why}" + (f"; and {len(others)} more" if others else "")
                self.notify(said, severity="warning", timeout=10, markup=False)
            return
        self.open_run(launched.runs[0])
        if len(launched.runs) > 1:
            self.notify(
                f"{len(launched.runs)} runs, one for each seed; they wait for free devices", timeout=5, markup=False
            )

    async def _show_typed_sweep(self, sweep: TypedSweep) -> None:
        await self.show_sweep(SweepSource(sweep.name, sweep.plan, sweep.search), partial(self._launch, sweep.typed))

    async def show_sweep(self, source: SweepSource, launch: Callable[[], object] | None = None) -> None:
        """Show the table of a sweep, over that of the runs."""
        await self.action_switch_mode("runs")
        await self.push_screen(SweepScreen(self.session, source, launch))

    @work(exclusive=True, group=OPENING)
    async def sweep_of_run(self, run_id: str) -> None:
        """Show the table of the sweep that a run belongs to."""
        record = self.session.record_of(run_id)
        sweep = None if record is None else await asyncio.to_thread(sweep_of, record)
        if sweep is None:
            self.notify(f"{run_id} belongs to no sweep. In the launch form T=2,4,6 makes one.", timeout=6, markup=False)
        else:
            await self.show_sweep(SweepSource(sweep.name))

    @work(exclusive=True, group=OPENING)
    async def sweep_of_preset(self, path: Path, name: str) -> None:
        """Show the table of the sweep that a preset has."""
        typed = TypedRequest(path, name, self.session.runs, sweep="yes")
        await self._show_typed_sweep(await asyncio.to_thread(typed_sweep, typed))

    async def action_switch_mode(self, mode: str) -> None:
        """Show a screen; of the runs their list, also if the table of a sweep lies over it."""
        await super().action_switch_mode(mode)
        while mode == "runs" and isinstance(self.screen, SweepScreen):
            self.pop_screen()  # not awaited: a click comes from the screen that goes

    def action_command_palette(self) -> None:
        """Find an action, a run or a preset by name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """List what the keys do here, beside the screen; then the next page of it, after the last one no longer."""
        if not self.screen.query(HelpPanel):
            self.action_show_help_panel()
            # The words of the screen come after its keys.
            self.call_after_refresh(self.screen.query_one(HelpPanel).move_child, 0, after=-1)
        elif (panel := self.screen.query_one(HelpPanel)).is_vertical_scroll_end:
            self.action_hide_help_panel()
        else:
            panel.scroll_relative(y=panel.scrollable_content_region.height - 1, animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc hides the help only where it is shown."""
        if action == "hide_help_panel" and not self.screen.query(HelpPanel):
            return False
        return super().check_action(action, parameters)

    @work
    async def action_leave(self) -> None:
        """Leave the dashboard; runs go on. Asks where some train or wait."""
        if count := len(self.session.live):
            text = f"{counted(count, 'run')} will go on, in training or in the queue. Leave the dashboard?"
            if not await self.push_screen_wait(ConfirmLeaving(text, "leave")):
                return
        self.exit()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The contents of the command palette."""
        from rbp_engine.preset import list_presets

        yield from commands_of_keys(self, screen)
        yield SystemCommand("Theme", "choose the colours", self.action_change_theme)
        runs = ((record.run.id, record.verdict.status) for record in reversed(self.session.records))
        yield from commands_of_names("Open run", runs, self.open_run)
        presets = ((entry.name, entry.title) for entry in list_presets())
        yield from commands_of_names("Preset", presets, self.choose_preset)

    async def choose_preset(self, name: str) -> None:
        """Show a preset on its screen."""
        await self.switch_mode("presets")
        if isinstance(self.screen, PresetsScreen):
            self.screen.choose(name)

    @work(exclusive=True, group=OPENING)
    async def preset_from_run(self, run_id: str) -> None:
        """Write the settings of a run as a preset of the user's own, and edit it."""
        record = self.session.record_of(run_id)
        if record is not None and (path := await preset_of_run(self, record)) is not None:
            await self.switch_mode("presets")
            if isinstance(self.screen, PresetsScreen):
                await self.screen.edit(path, new=True)


def _has_runs(runs: Path) -> bool:
    try:
        return bool(run_names(runs))
    except UserError:  # the reader reports it
        return True


def main(runs: Path) -> int:
    """Run the dashboard on a runs directory until the user quits; returns the exit code."""
    app = Dashboard(runs)
    app.run()
    return 1 if app.return_code is None else app.return_code  # None: it was not left, but could not go on
