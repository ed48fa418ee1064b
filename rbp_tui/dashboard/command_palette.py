"""The command palette: every action of this moment once, and every run and preset by name.

Textual's own commands are left out: ours do the same.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.command import CommandList, CommandPalette
from textual.screen import Screen

from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_tui.dashboard.keys import key_meaning, key_name
from rbp_tui.dashboard.screen_base import DashboardScreen


def literal(text: str) -> str:
    """A text as markup that shows just this text: Textual takes the title and the help of a command for markup.

    Every bracket is escaped: `textual.markup.escape` leaves some, as in `b/[/`.
    """
    return one_line(text, LONGEST_NAME).replace("[", "\\[")


class Palette(CommandPalette):
    """Finds every action, run and preset by name.

    The commands exist before their list is drawn, and until then the list has no lines to page through. Textual looks
    for the lines anyway and ends with a KeyError. It goes on collecting commands after it was closed, when the list
    is gone, and ends with a NoMatches.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ignore the keys that move in the list until it has lines."""
        if action == "command_list" and not self.query_one(CommandList).scrollable_content_region:
            return False
        return super().check_action(action, parameters)

    def _watch__list_visible(self) -> None:
        if self.query(CommandList):
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        if self.query(CommandList):
            await super()._watch__show_busy()


def commands_of_keys(app: App[Any], screen: Screen[object]) -> Iterable[SystemCommand]:
    """The actions of this screen: first those without a key, then those with one, each once however many it has."""
    if isinstance(screen, DashboardScreen):
        for title, action in screen.PALETTE.items():
            if screen.check_action(action, ()):
                yield SystemCommand(title, "", partial(app.run_action, action, screen))
    seen = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        does = (active.node, binding.action)
        if active.enabled and binding.id and binding.description and does not in seen:
            seen.add(does)
            name = key_meaning(binding)
            act = partial(app.run_action, binding.action, active.node)
            yield SystemCommand(name[0].upper() + name[1:], f"key {key_name(app, binding)}", act)


def commands_of_names(
    what: str, names: Iterable[tuple[str, str]], choose: Callable[[str], object]
) -> Iterable[SystemCommand]:
    """A command for each name with its description. There may be thousands: they are found by typing, not listed."""
    for name, about in names:
        yield SystemCommand(literal(f"{what} {name}"), literal(about), partial(choose, name), discover=False)
