"""The launch form: settings for a preset, the exact command, and the errors that prevent a launch."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import Suggester, SuggestFromList
from textual.widgets import Input, Label, Static

from rbp_engine.data.catalog import DataMissing
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, PresetError, load_preset
from rbp_engine.preset.search import shared_presets_problem
from rbp_engine.run import start
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.launch.cost import LaunchCost
from rbp_tui.dashboard.launch.request import TypedRequest, warnings
from rbp_tui.dashboard.screen_base import TYPING_PAUSE_S
from rbp_tui.dashboard.session import Session
from rbp_tui.text.presence_text import presence_text
from rbp_tui.text.setting_words import complete, completions, help_on_word, last_word

DEVICES = ("auto", "cpu", "cuda")
SHOWN_COMPLETIONS = 12


class SettingSuggester(Suggester):
    """Completes the last word of a line of overrides."""

    def __init__(self, loaded: LoadedPreset | None) -> None:
        super().__init__(case_sensitive=True)
        self.loaded = loaded

    async def get_suggestion(self, value: str) -> str | None:
        return complete(value, self.loaded.preset if self.loaded else None)


class SettingsInput(Input):
    """Overrides; Tab accepts the completion, or moves to the next field if there is none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", id="launch.complete")]

    def __init__(self, loaded: LoadedPreset | None) -> None:
        super().__init__(
            id="overrides", compact=True, placeholder="T=6 method=bptt", suggester=SettingSuggester(loaded)
        )
        self.loaded = loaded

    def action_complete(self) -> None:
        """Complete the word that is being typed."""
        longer = complete(self.value, self.loaded.preset if self.loaded else None)
        if longer == self.value:
            self.screen.focus_next()
        else:
            self.value = longer
            self.cursor_position = len(longer)


def verdict_text(typed: TypedRequest, records: Sequence[RunRecord]) -> Text:
    """The exact command with warnings, or all errors."""
    text = Text("\n")
    try:
        request = typed.request()
        for warning in warnings(request, start.check(request), records):
            text.append(f"⚠ {warning}\n", style="yellow")
        text.append(shlex.join(request.typed), style="bold")
    except DataMissing as error:
        text.append(f"{error.presence.name}  ").append_text(presence_text(error.presence))
    except UserError as error:
        text.append(str(error), style="red")
    return text


class LaunchForm(ModalScreen[list[str]]):
    """Enter launches and returns the ids of the runs; nothing is created before. Escape returns none."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "cancel", id="launch.cancel"),
        Binding("ctrl+o", "cost", "measure the cost", id="launch.cost"),
        Binding("ctrl+y", "copy", "copy the command", id="launch.copy"),
    ]

    def __init__(self, path: Path, name: str, session: Session) -> None:
        super().__init__()
        self.session = session
        self.path = path
        self.preset_name = name
        self.launching = False

    def compose(self) -> ComposeResult:
        usual = self._usual()
        run = usual.preset.run if usual else None
        with Vertical(classes="dialog"):
            with VerticalScroll(id="form", can_focus=False):
                yield Static(Text(f"Launch {self.preset_name}\n", style="bold"))
                with Horizontal(classes="row"):
                    yield Label("settings")
                    yield SettingsInput(usual)
                yield Static(id="offered")
                with Horizontal(classes="row"):
                    yield Label("seeds")
                    yield Input(id="seeds", compact=True, placeholder=f"{run.seed if run else 1}   or 1,2,3")
                    yield Label("device")
                    yield Input(
                        id="device",
                        compact=True,
                        placeholder=run.device if run else "auto",
                        suggester=SuggestFromList(DEVICES),
                    )
                with Horizontal(classes="row"):
                    yield Label("processes")
                    yield Input(id="processes", compact=True, placeholder="1   or 2: they share every batch")
                    yield Label("gpus")
                    yield Input(id="gpus", compact=True, placeholder="auto, none or 0,1: wait for a free one")
                with Horizontal(classes="row"):
                    yield Label("name")
                    yield Input(id="run_name", compact=True, placeholder=run.name if run else "")
                    yield Label("tags")
                    yield Input(id="tags", compact=True, placeholder=" ".join(run.tags) if run else "")
                with Horizontal(classes="row"):
                    yield Label("id")
                    yield Input(id="run_id", compact=True, placeholder="one is made")
                yield Static(id="verdict")
                yield LaunchCost(id="cost", markup=False)
            yield Static(
                "\n[b]Enter[/b] launch   [b]Tab[/b] complete   [b]ctrl+o[/b] cost   [b]ctrl+y[/b] copy"
                "   [b]Esc[/b] cancel",
                classes="keys",
            )

    def _usual(self) -> LoadedPreset | None:
        """The preset without overrides; None if it has become unreadable, which the verdict then reports."""
        try:
            return load_preset(str(self.path))
        except PresetError:
            return None

    def on_mount(self) -> None:
        self.query_one("#overrides").focus()
        self._offer()
        self._check()
        if problem := shared_presets_problem(str(self.path)):
            self.notify(problem, severity="warning", markup=False)

    @property
    def typed(self) -> TypedRequest:
        fields = ("overrides", "seeds", "device", "processes", "gpus", "run_name", "tags", "run_id")
        words = {name: self.query_one(f"#{name}", Input).value for name in fields}
        return TypedRequest(self.path, self.preset_name, self.session.runs, **words)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._offer()
        self._check(TYPING_PAUSE_S)

    @work(exclusive=True, group="check")
    async def _check(self, pause_s: float = 0.0) -> None:
        """Show the exact command, or all errors, unless something else is typed before."""
        typed, verdict = self.typed, self.query_one("#verdict", Static)  # afterwards the form may be closing
        await asyncio.sleep(pause_s)
        # In a thread, since reading presets and querying the GPU driver takes time.
        verdict.update(await asyncio.to_thread(verdict_text, typed, self.session.records))

    @on(Input.Changed, "#overrides, #device, #processes")
    def _forget_cost(self) -> None:
        self.query_one(LaunchCost).forget()

    def _offer(self) -> None:
        """Show completions and the meaning of the word being typed."""
        settings = self.query_one(SettingsInput)
        word = last_word(settings.value)
        found = completions(word, settings.loaded.preset if settings.loaded else None) if word else []
        offered = Text("  ".join(found[:SHOWN_COMPLETIONS]), style="dim", no_wrap=True, overflow="ellipsis")
        offered.append(f"\n{help_on_word(word)}")
        self.query_one("#offered", Static).update(offered)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if not self.launching:
            self.launching = True
            self.workers.cancel_group(self, "check")
            self.query_one(LaunchCost).forget()  # the run needs the memory
            self._launch(self.typed)

    @work
    async def _launch(self, typed: TypedRequest) -> None:
        try:
            started = await asyncio.to_thread(lambda: start.start_runs(typed.request()))
        except UserError as error:
            self.launching = False
            self.query_one("#verdict", Static).update(Text(f"\n{error}", style="red"))
        else:
            self.dismiss([run.id for run in started.runs])  # not awaited: it ends the screen that this runs for

    def action_cost(self) -> None:
        """Measure what one process with these settings takes, in memory and time."""
        self.query_one(LaunchCost).measure(self.typed)

    def action_copy(self) -> None:
        """Copy the command to the clipboard."""
        try:
            command = shlex.join(self.typed.request().typed)
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.app.copy_to_clipboard(command)
        self.notify("copied", timeout=2)
