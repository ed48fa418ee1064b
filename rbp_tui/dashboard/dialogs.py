"""Small dialogs, and the list of keys."""

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from rbp_tui.dashboard.keys import key_meaning, key_name, keys_file


class Confirm(ModalScreen[bool]):
    """A yes-no question: Enter for yes, Escape for no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "dismiss(True)", "yes", id="confirm.yes"),
        Binding("escape,n,q", "dismiss(False)", "no", id="confirm.no"),
    ]

    def __init__(self, question: str, verb: str) -> None:
        super().__init__()
        self.question = question
        self.verb = verb

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            yield Static(Content.from_markup("\n[b]Enter[/b] $verb   [b]Esc[/b] no", verb=self.verb), classes="keys")


class Ask(ModalScreen[str | None]):
    """Ask for a line of text, finished with Enter, or for several `lines`, finished with ctrl+s. Escape cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "give", "save", id="ask.give"),
        Binding("escape", "dismiss", "cancel", id="ask.cancel"),
    ]

    def __init__(self, question: str, value: str, *, lines: bool = False) -> None:
        super().__init__()
        self.question = question
        self.value = value
        self.lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False, classes="label")
            if self.lines:
                yield TextArea(self.value, compact=True, id="answer")
            else:
                yield Input(self.value, compact=True, id="answer")
            key = "ctrl+s" if self.lines else "Enter"
            yield Static(Content.from_markup("\n[b]$key[/b] save   [b]Esc[/b] cancel", key=key), classes="keys")

    @on(Input.Submitted)
    def action_give(self) -> None:
        field = self.query_one("#answer")
        self.dismiss(field.text if isinstance(field, TextArea) else field.value if isinstance(field, Input) else None)


class Help(ModalScreen[None]):
    """The list of keys of a screen, and of those that work everywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "close", id="help.close")
    ]

    def __init__(self, about: Screen[object]) -> None:
        super().__init__()
        self.about = about

    def compose(self) -> ComposeResult:
        # Our own first: users try Textual's keys for moving in a list anyway.
        active = sorted(
            self.about.active_bindings.values(), key=lambda active: (not active.binding.id, not active.binding.show)
        )
        keys = dict.fromkeys(
            (key_name(self.app, one.binding), key_meaning(one.binding), one.binding.id or "")
            for one in active
            if one.binding.description and not one.binding.system
        )
        # Not markup, since a key may be a bracket.
        width = max((len(does) for _, does, _ in keys), default=0)
        lines = [Text(f"{'key':>12}  {'what it does':<{width}}  its name", style="dim")]
        lines += [
            Text.assemble((f"{key:>12}", "bold"), f"  {does:<{width}}  ", (name, "dim")) for key, does, name in keys
        ]
        with VerticalScroll(classes="dialog"):
            yield Static(Text("\n").join(lines))
            yield Static("\n[b]ctrl+p[/b] every action, run and preset by name   [b]Esc[/b] close", classes="keys")
            yield Static(f"other keys: by their names under [keys] in {keys_file()}", classes="keys", markup=False)


class Choice(ModalScreen[str | None]):
    """A question with several answers: the arrows and Enter choose one, Escape none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "back", id="choice.back")]

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
