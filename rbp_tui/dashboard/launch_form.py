"""The launch form: settings on top of a preset, the exact command, and why it would be refused."""

import shlex
import threading
from typing import ClassVar

from rich.markup import escape
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rbp_engine.data.catalog import require
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.run import launch, queue
from rbp_engine.run.layout import check_run_id


class LaunchForm(ModalScreen[None]):
    """Enter launches and opens the Monitor; nothing is created before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="launch.cancel"),
        Binding("ctrl+y", "copy", "copy the command", id="launch.copy"),
    ]

    def __init__(self, path: str, name: str) -> None:
        super().__init__()
        self.path = path
        self.preset_name = name
        self.loaded: LoadedPreset | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(f"[b]Launch {escape(self.preset_name)}[/b]\n")
            yield Static("settings on top of it, e.g. T=6 method=bptt train.epochs=3", classes="label")
            yield Input(id="overrides", compact=True)
            yield Static("id of the run (left empty: one is made)", classes="label")
            yield Input(id="id", compact=True)
            yield Static(id="verdict", markup=True)
            yield Static("\n[b]Enter[/b] launch   [b]ctrl+y[/b] copy the command   [b]Esc[/b] cancel", classes="keys")

    def on_mount(self) -> None:
        self.query_one("#overrides").focus()
        self._check()

    @on(Input.Changed)
    def _check(self) -> None:
        """Say the exact command, or everything that is wrong."""
        verdict = self.query_one("#verdict", Static)
        try:
            run_id = self.query_one("#id", Input).value.strip()
            if run_id:
                check_run_id(run_id)
            self.loaded = load_preset(self.path, self._words())
            if "data.name" not in self.loaded.own_code:
                require(self.loaded.preset.data.name)
        except (UserError, ValueError) as error:
            self.loaded = None
            verdict.update(f"\n[red]{escape(str(error))}[/]")
        else:
            verdict.update(f"\n[dim]{escape(self.command)}[/]")

    def _words(self) -> list[str]:
        return shlex.split(self.query_one("#overrides", Input).value)

    @property
    def command(self) -> str:
        """What does the same in a shell."""
        run_id = self.query_one("#id", Input).value.strip()
        words = ["rbp", "train", self.preset_name, *self._words(), *(["--id", run_id] if run_id else []), "--detach"]
        return shlex.join(words)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        if self.loaded is not None:
            self._launch(self.loaded, self.query_one("#id", Input).value.strip() or None, shlex.split(self.command))

    @work(thread=True, exclusive=True)
    def _launch(self, loaded: LoadedPreset, run_id: str | None, command: list[str]) -> None:
        from rbp_tui.dashboard.app import Dashboard

        app = self.app
        assert isinstance(app, Dashboard)
        try:
            run = launch.create(loaded, app.runs, run_id=run_id, command=command)
            worker = queue.begin(run)
        except UserError as error:
            app.call_from_thread(self.query_one("#verdict", Static).update, f"\n[red]{escape(str(error))}[/]")
            return
        # Somebody must wait for the worker, or it stays behind as a zombie when it ends.
        if worker is not None:
            threading.Thread(target=worker.wait, daemon=True).start()
        app.call_from_thread(self.dismiss)
        app.call_from_thread(app.open_run, run.id)

    def action_copy(self) -> None:
        """Copy the command to the clipboard."""
        self.app.copy_to_clipboard(self.command)
        self.notify("copied", timeout=2)

    def action_cancel(self) -> None:
        """Close the form; nothing has been created."""
        self.dismiss()
