"""The head of a screen that follows a run: the run, its status and reason, its progress, and the time left."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from rbp_tui.dashboard.opened.state_text import RunState
from rbp_tui.dashboard.text_line import Line
from rbp_tui.text.run_text import STYLES


class Head(Vertical):
    """Two rows, and a third if there is something to say about the status."""

    def compose(self) -> ComposeResult:
        yield Line(id="title")
        yield Line(id="progress")
        yield Line(id="why", wraps=True)

    @property
    def columns(self) -> int:
        """The width, also before it is on the screen."""
        return self.size.width or self.app.size.width

    def show(self, title: Text, progress: Text, why: Text) -> None:
        """Show these rows."""
        self.query_one("#title", Line).show_text(title)
        self.query_one("#progress", Line).show_text(progress)
        self.query_one("#why", Line).show_or_hide(why)


def why_text(state: RunState, width: int) -> Text:
    """The reason and the advice, in one row if there is room, else below each other."""
    text = Text()
    if state.why:
        text.append(f" {state.why}", style="" if state.status == "completed" else STYLES.get(state.status, ""))
    if state.advice:
        fits = text.cell_len + len(state.advice) + 4 <= width
        text.append(("  " if fits else "\n") if state.why else "")
        text.append(f" {state.advice}", style="dim")
    return text
