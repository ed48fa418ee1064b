"""Small questions and the list of keys."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from rbp_tui.dashboard.keys import keys_file


class Confirm(ModalScreen[bool]):
    """A question that Enter answers with yes and Escape with no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "answer(True)", "yes", id="confirm.yes"),
        Binding("escape,n,q", "answer(False)", "no", id="confirm.no"),
    ]

    def __init__(self, question: str, verb: str) -> None:
        super().__init__()
        self.question = question
        self.verb = verb

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            yield Static(f"\n[b]Enter[/b] {self.verb}   [b]Esc[/b] no", classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class Help(ModalScreen[None]):
    """What the keys do on a screen, and everywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "close", "close", id="help.close")]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self.about = about

    def compose(self) -> ComposeResult:
        lines = []
        for active in self.about.active_bindings.values():
            binding = active.binding
            if binding.description and not binding.system:
                key = self.app.get_key_display(binding)
                lines.append(f"[b]{key:>12}[/b]  {binding.description}  [dim]{binding.id or ''}[/dim]")
        with VerticalScroll(classes="dialog"):
            yield Static("\n".join(dict.fromkeys(lines)))
            yield Static("\n[b]ctrl+p[/b] every action, run and preset by name   [b]Esc[/b] close", classes="keys")
            yield Static(f"other keys: by these names under [keys] in {keys_file()}", classes="keys", markup=False)

    def action_close(self) -> None:
        self.dismiss(None)
