"""Textual's command palette, with keys that wait for the list that they move in."""

from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """Finds every action, run and preset by name.

    Its commands are there before they are drawn, and a list that is not drawn has no lines to page through: Textual
    looks for them all the same, and ends with a KeyError.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The keys that move in the list do nothing until it has lines."""
        if action == "command_list" and not self.query_one(CommandList).scrollable_content_region:
            return False
        return super().check_action(action, parameters)
