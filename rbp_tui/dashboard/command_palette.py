"""The command palette: every action of this moment once, and every run and preset by name.

Textual's own commands are left out: ours do the same.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.screen import Screen

from rbp_tui.dashboard.keys import key_meaning, key_name
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.dashboard.textual_faults import literal


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
