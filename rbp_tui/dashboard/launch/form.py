"""The launch form: settings for a preset, the exact command, and the errors that prevent a launch."""

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from rich.console import Group
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.suggester import Suggester, SuggestFromList
from textual.widgets import Input, Label, Static

from rbp_engine.data.catalog import DataMissing
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, PresetError, load_preset
from rbp_engine.preset.find import shared_presets_problem
from rbp_engine.printable import one_line
from rbp_engine.run import start
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.answered import Dialog
from rbp_tui.dashboard.launch.sweep import Launched, describe_sweep, is_sweep, start_sweep, typed_sweep
from rbp_tui.dashboard.launch.typed_request import TypedRequest, warnings
from rbp_tui.dashboard.screen_base import TYPING_PAUSE_S
from rbp_tui.dashboard.session import Session
from rbp_tui.text.presence_text import presence_text
from rbp_tui.text.setting_words import complete, completions, help_on_word, last_word

DEVICES = ("auto", "cpu", "cuda")
SHOWN_COMPLETIONS = 12


class Completer(Suggester):
    """Suggests what a function makes of the text."""

    def __init__(self, complete: Callable[[str], str]) -> None:
        super().__init__(case_sensitive=True)
        self.complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return self.complete(value)


class CompletingInput(Input):
    """A field whose last word is completed: Tab accepts the completion, or moves to the next field if there is none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", id="launch.complete")]

    def __init__(self, words: str, name: str, example: str, complete: Callable[[str], str]) -> None:
        super().__init__(
            words,
            id=name,
            compact=True,
            placeholder=f"e.g. {example}",
            suggester=Completer(complete),
            select_on_focus=False,
        )
        self.complete = complete

    def action_complete(self) -> None:
        """Complete the word that is being typed."""
        longer = self.complete(self.value)
        if longer == self.value:
            self.screen.focus_next()
        else:
            self.value = longer
            self.cursor_position = len(longer)


@dataclass(frozen=True)
class FormField:
    """A field of the form: an example, and what holds when it is empty."""

    name: str
    label: str
    example: str
    hint: str


def fields_of_form(usual: LoadedPreset | None) -> tuple[FormField, ...]:
    """The fields below the settings; `usual` is the preset or run without changes."""
    run = usual.preset.run if usual else None
    seed, device = (run.seed, run.device) if run else (1, "auto")
    own = usual.sweep.seeds if usual and usual.sweep else ()
    also = f"its sweep: {','.join(map(str, own))}" if own else ""
    own_sweep = "yes: the preset's own" if usual and usual.sweep else "random runs, or tpe 20 to search"
    return (
        FormField("seeds", "seeds", "1,2,3", f"{seed} when empty; {also or 'a run for each'}"),
        FormField("sweep", "sweep", "20", own_sweep),
        FormField("device", "device", "cpu", f"{device} when empty"),
        FormField("processes", "processes", "2", "1 when empty; they share each batch"),
        FormField("gpus", "gpus", "0,1", "waits for a free one; or auto, none"),
        FormField("run_name", "name", "baseline", f"{run.name} when empty" if run and run.name else ""),
        FormField("tags", "tags", "paper wide", f"{' '.join(run.tags)} when empty" if run and run.tags else ""),
        FormField("run_id", "run id", "trial-7", "made for you when empty"),
    )


def verdict_text(typed: TypedRequest, records: Sequence[RunRecord]) -> Text:
    """The exact command with what it starts and warnings, or all errors."""
    try:
        return describe_sweep(typed, records) if is_sweep(typed) else _describe_runs(typed, records)
    except DataMissing as error:
        return Text(f"{error.presence.name}  ").append_text(presence_text(error.presence))
    except UserError as error:
        return Text(str(error), style="red")


def _describe_runs(typed: TypedRequest, records: Sequence[RunRecord]) -> Text:
    text, request = Text(), typed.request()
    loaded = start.check(request)
    request.require_trust(loaded)
    for warning in warnings(request, loaded, records):
        text.append(f"⚠ {warning}\n", style="yellow")
    return text.append(shlex.join(request.typed), style="bold")


def _start(typed: TypedRequest) -> Launched:
    if is_sweep(typed):
        return start_sweep(typed)
    return Launched([run.id for run in start.start_runs(typed.request()).runs])


class LaunchForm(Dialog[Launched]):
    """Enter launches and returns what was started; nothing is created before. Escape returns none."""

    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+y", "copy", "copy the command", id="launch.copy"),
    ]

    def __init__(self, start: TypedRequest, session: Session) -> None:
        """`start` is what the form is filled with."""
        super().__init__()
        self.session = session
        self.start = start
        self.launching = False
        self._usual: LoadedPreset | None = None

    def compose(self) -> ComposeResult:
        self._usual, verb = self._load_usual(), "Run again, changed:" if self.start.again else "Launch"
        with Vertical(classes="dialog"):
            with VerticalScroll(id="form", can_focus=False):
                yield Static(Text(f"{verb} {one_line(self.start.name)}\n", style="bold"))
                with Horizontal(classes="row first"):
                    yield Label("settings", classes="name")
                    yield CompletingInput(
                        self.start.overrides and f"{self.start.overrides} ",  # ready for another word
                        "overrides",
                        "T=6 lr=0.05; a sweep: T=2,4,6",
                        lambda words: complete(words, self._usual.preset if self._usual else None),
                    )
                yield Static(id="verdict")
                yield Static(id="offered")
                for field in fields_of_form(self._usual):
                    with Horizontal(classes="row"):
                        yield Label(field.label, classes="name", markup=False)
                        yield Input(
                            getattr(self.start, field.name),
                            id=field.name,
                            compact=True,
                            placeholder=f"e.g. {field.example}",
                            suggester=SuggestFromList(DEVICES) if field.name == "device" else None,
                            select_on_focus=False,
                        )
                        yield Label(field.hint, classes="hint", markup=False)
            yield Static(
                "\n[b]Enter[/b] launch   [b]Tab[/b] complete, next   [b]ctrl+y[/b] copy   [b]Esc[/b] cancel",
                classes="keys",
            )

    def _load_usual(self) -> LoadedPreset | None:
        """The preset or run without overrides; None if it has become unreadable, which the verdict then reports."""
        if self.start.again:
            return self.start.again.loaded
        try:
            return load_preset(str(self.start.path))
        except PresetError:
            return None

    def on_mount(self) -> None:
        self.query_one("#overrides").focus()
        self._offer()
        self._check()
        if not self.start.again and (problem := shared_presets_problem(str(self.start.path))):
            self.notify(problem, severity="warning", markup=False)

    @property
    def typed(self) -> TypedRequest:
        names = ("overrides", *(field.name for field in fields_of_form(None)))
        typed: dict[str, Any] = {name: self.query_one(f"#{name}", Input).value for name in names}
        return replace(self.start, **typed)

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

    def _offer(self) -> None:
        """Show completions and the meaning of the word being typed."""
        word = last_word(self.query_one("#overrides", Input).value)
        found = completions(word, self._usual.preset if self._usual else None) if word else []
        lines = [Text("  ".join(found[:SHOWN_COMPLETIONS]), no_wrap=True, overflow="ellipsis")] if found else []
        lines.append(Text(help_on_word(word)))
        self.query_one("#offered", Static).update(Group(*lines))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if not self.launching:
            self.launching = True
            self.workers.cancel_group(self, "check")
            self._launch(self.typed)

    @work
    async def _launch(self, typed: TypedRequest) -> None:
        if is_sweep(typed):
            self.query_one("#verdict", Static).update(Text("starting the sweep…", style="dim"))
        try:
            launched = await asyncio.to_thread(_start, typed)
        except UserError as error:
            self.launching = False
            self.query_one("#verdict", Static).update(Text(str(error), style="red"))
        else:
            self.dismiss(launched)  # not awaited: it ends the screen that this runs for

    def action_copy(self) -> None:
        """Copy the command to the clipboard."""
        try:
            typed = self.typed
            command = shlex.join(typed_sweep(typed).asked.request.typed if is_sweep(typed) else typed.request().typed)
        except UserError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        self.app.copy_to_clipboard(command)
        self.notify("copied", timeout=2)
