"""Small dialogs."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from rbp_tui.dashboard.answered import Dialog


class Confirm(Dialog[bool]):
    """A yes-no question: Enter for yes, Escape for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "dismiss(True)", "yes", id="confirm.yes"),
        Binding("n,q", "dismiss(False)", "no", id="confirm.no"),
    ]
    YES = "Enter"

    def __init__(self, question: str, verb: str) -> None:
        super().__init__()
        self.question = question
        self.verb = verb

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            keys = Content.from_markup("\n[b]$yes[/b] $verb   [b]Esc[/b] no", yes=self.YES, verb=self.verb)
            yield Static(keys, markup=False, classes="keys")


class ConfirmLeaving(Confirm):
    """The key that asked to leave, pressed again, leaves. No other question takes it for a yes."""

    YES = "Enter or q"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+c", "dismiss(True)", "yes", id="leave")]


class Ask(Dialog[str | None]):
    """Ask for a line of text, finished with Enter, or for several `lines`, finished with ctrl+s. Escape cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "give", "save", id="ask.give")]

    def __init__(self, question: str, value: str, *, lines: bool = False, verb: str = "save") -> None:
        super().__init__()
        self.question = question
        self.value = value
        self.verb = verb
        self.lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False, classes="label")
            if self.lines:
                yield TextArea(self.value, compact=True, id="answer")
            else:
                yield Input(self.value, compact=True, id="answer")
            key = "ctrl+s" if self.lines else "Enter"
            yield Static(
                Content.from_markup("\n[b]$key[/b] $verb   [b]Esc[/b] cancel", key=key, verb=self.verb), classes="keys"
            )

    @on(Input.Submitted)
    def action_give(self) -> None:
        field = self.query_one("#answer")
        self.dismiss(field.text if isinstance(field, TextArea) else field.value if isinstance(field, Input) else None)


class Choice(Dialog[str | None]):
    """A question with several answers: the arrows and Enter choose one, Escape none."""

    def __init__(self, question: str, answers: dict[str, str], back: str) -> None:
        """`answers` maps each returned name to the answer's text; `back` describes what Escape does."""
        super().__init__()
        self.question = question
        self.answers = answers
        self.back = back

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(f"{self.question}\n", markup=False)
            yield OptionList(
                *(Option(text, id=name) for name, text in self.answers.items()), markup=False, compact=True
            )
            yield Static(
                Content.from_markup("\n[b]Enter[/b] choose   [b]Esc[/b] $back", back=self.back), classes="keys"
            )

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)
