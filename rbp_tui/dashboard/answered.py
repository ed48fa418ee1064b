"""Screens that return a result, and do so once."""

import time
from typing import ClassVar, TypeVar

from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, Screen

Result = TypeVar("Result")


class Answered(Screen[Result]):
    """A screen that is dismissed once, with its first answer: of two quick Enters the second would end another screen.

    If another screen covers it, as the palette may, it ends once it is seen again; if its widgets are still being made,
    as after Enter and Escape in quick succession, once they are there.
    """

    seen_at = float("inf")  # the time by the clock of keys
    _is_answered = False
    _late_answers: tuple[Result | None, ...] = ()  # one at most

    def on_mount(self) -> None:
        self.call_after_refresh(self._seen)

    def _seen(self) -> None:
        self.seen_at = time.monotonic()

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """End the screen with this result, unless it has one already."""
        if self._is_answered:
            return AwaitComplete()
        self._is_answered = True
        if self.app.screen is not self or not self.is_mounted:
            self._late_answers = (result,)
            return AwaitComplete()
        return super().dismiss(result)

    def on_screen_resume(self) -> None:
        if self._late_answers and self.app.screen is self:
            (answer,), self._late_answers = self._late_answers, ()
            super().dismiss(answer)


class Dialog(ModalScreen[Result], Answered[Result]):
    """A dialog that is answered once; Escape says nothing. Stylesheets know the first base only, here `ModalScreen`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "back", id="dialog.back")]
