"""Textual's command palette, without a crash on keys pressed before its list is drawn."""

from textual.command import CommandList, CommandPalette

from rbp_engine.printable import LONGEST_NAME, one_line


def literal(text: str) -> str:
    """A text as markup that shows just this text: Textual takes the title and the help of a command for markup.

    Every bracket is escaped: `textual.markup.escape` leaves some, as in `b/[/`.
    """
    return one_line(text, LONGEST_NAME).replace("[", "\\[")


class Palette(CommandPalette):
    """Finds every action, run and preset by name.

    The commands exist before their list is drawn, and until then the list has no lines to page through. Textual looks
    for the lines anyway and ends with a KeyError.
    """

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ignore the keys that move in the list until it has lines."""
        if action == "command_list" and not self.query_one(CommandList).scrollable_content_region:
            return False
        return super().check_action(action, parameters)
