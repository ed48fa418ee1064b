"""The log of a run: the output of its processes, followed and searched, and the traceback of its failure."""

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from rbp_engine.run.files.events import ErrorRaised, Event
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.log_files import log_files
from rbp_engine.run.history.history import History
from rbp_tui.dashboard.monitor.log_lines import LogLines
from rbp_tui.dashboard.monitor.log_tail import LogTail, readable, without
from rbp_tui.dashboard.text_line import Line

READ_EVERY_S = 0.3
LOOK_EVERY_S = 2.0  # for files that do not exist yet
TRACEBACK = "traceback"


class LogPane(Vertical):
    """stdout and stderr of one process at a time. The view follows the end unless it is scrolled up."""

    ALLOW_MAXIMIZE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave_search", "end search", id="log.leave", show=False),
    ]

    def __init__(self, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self.run: RunDirectory | None = None
        self.lines = LogLines(id="log_lines")
        self.shown = ""
        self.names: list[str] = []
        self._tails: list[LogTail] = []
        self._failure: Event | None = None
        self._folders: dict[int, str] = {}
        self._left_out: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        yield Line(id="log_head")
        yield self.lines
        yield Input(placeholder="find in the log", id="find", compact=True)

    def on_mount(self) -> None:
        self.query_one("#find").display = False
        self.set_interval(READ_EVERY_S, self._read)
        self.set_interval(LOOK_EVERY_S, self._find_files)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to leave a search while there is one."""
        return action != "leave_search" or any(field.display for field in self.query("#find"))

    def follow(self, run: RunDirectory | None) -> None:
        """Show the log of another run."""
        if run != self.run:
            self.run, self._failure, self._folders = run, None, {}
            self._open("")

    def show_process(self, name: str) -> None:
        """Show the output of the process of this name, as `log_files` names it."""
        if name != self.shown:
            self._open(name)

    def set_history(self, history: History) -> None:
        """Set where the processes write, and the error that ended the run, for `show_traceback`."""
        self._folders = {process.rank: process.logs for process in history.processes if process.logs}
        if history.failure is not self._failure:
            self._failure = history.failure
            if self.shown == TRACEBACK:
                self._open("")
            self._show_head()

    def leave_out(self, lines: tuple[str, ...]) -> None:
        """Leave these lines, a traceback that is shown elsewhere, out of the output; none to show everything."""
        if lines != self._left_out:
            self._left_out = lines
            if self.shown != TRACEBACK:
                self._open(self.shown)

    def show_traceback(self) -> bool:
        """Jump to the traceback of the error that the run recorded, else to the last one in a log."""
        self.lines.focus()
        body, before = self._failure.body if self._failure else None, self.shown
        if isinstance(body, ErrorRaised) and body.traceback:
            self._open(TRACEBACK)
            self.lines.add([readable(line) for line in body.traceback.rstrip().split("\n")])
            self._show_head()
            return True
        for name in dict.fromkeys([before, *self.names]):
            self.show_process(name)
            if self.lines.find("Traceback (most recent call last)"):
                return True
        self.show_process(before)
        return False

    def search(self) -> None:
        """Ask for the text to find."""
        field = self.query_one("#find", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#find")
    def _search_changed(self, event: Input.Changed) -> None:
        self.lines.look_for(event.value)
        self.refresh_bindings()
        self._show_head()

    @on(Input.Submitted, "#find")
    def _search(self) -> None:
        """The place before, where it is found; before the first the last. Each Enter goes on."""
        if self.lines.wanted and not self.lines.find(self.lines.wanted):
            self.notify(f"{self.lines.wanted!r} is not in what is shown of the log", markup=False, timeout=3)
        self._show_head()

    def action_leave_search(self) -> None:
        """Take away what was looked for, and follow the end again."""
        field = self.query_one("#find", Input)
        field.value = ""
        field.display = False
        self.lines.scroll_end(animate=False)
        self.lines.focus()

    def _open(self, name: str) -> None:
        self.shown = name
        self._tails = []
        self.lines.empty()
        self._find_files()

    def _find_files(self) -> None:
        """Find the files again: they are created late, and a resume may create others."""
        if self.run is None or self.shown == TRACEBACK:
            return
        try:
            files = log_files(self.run, self._folders)
        except OSError:  # a folder that this user may not read
            files = {}
        self.names = list(files)
        if not self.shown and files:
            self.shown = next(iter(files))
        known = {tail.path: tail for tail in self._tails}
        self._tails = [known.get(path) or LogTail(path) for path in files.get(self.shown, ())]
        self._read()
        self._show_head()

    def _read(self) -> None:
        """Add newly written lines."""
        for tail in self._tails:
            self.lines.add(without(tail.poll(), self._left_out))

    def _show_head(self) -> None:
        """Show the processes with the current one marked, and the search."""
        head = Text(" log ")
        for name in self._tabs():
            style = Style(reverse=name == self.shown, dim=name != self.shown, meta={"@click": f"screen.log('{name}')"})
            label = name if not name.isdigit() or len(self.names) > 1 else f"rank {name}"
            head.append(f" {label} ", style=style)
        if self.lines.wanted:
            head.append(f"   {self.lines.wanted!r} {self.lines.found()}", style="dim")
        elif self.run is not None and not self.lines.line_count:
            head.append("   nothing written", style="dim")
        self.query_one("#log_head", Line).show_text(head)

    def _tabs(self) -> Sequence[str]:
        reported = not self._left_out and self._failure is not None and isinstance(self._failure.body, ErrorRaised)
        return [*self.names, *([TRACEBACK] if reported or self.shown == TRACEBACK else [])]
