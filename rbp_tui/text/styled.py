"""Text with styles around foreign words: only the template is markup, and no word in it is ever read as such."""

from typing import TYPE_CHECKING

from rbp_engine.printable import LONGEST_TEXT, one_line, visible

if TYPE_CHECKING:
    from rich.text import Text

SLOT = "{}"


def styled(template: str, *values: object) -> "Text":
    """The template, in Rich markup, with each `{}` replaced by a value: a `Text` as it is, else one line of text.

    The template must be a literal, see `tests/packaging/test_one_way_to_print.py`.
    """
    from rich.text import Text

    rest, text = Text.from_markup(template, emoji=False), Text()
    for value in values:
        place = rest.plain.index(SLOT)
        word = value.copy() if isinstance(value, Text) else Text(one_line(str(value), LONGEST_TEXT))
        for span in rest[place : place + 1].spans:
            word.stylize_before(span.style)
        text.append_text(rest[:place]).append_text(word)
        rest = rest[place + len(SLOT) :]
    return text.append_text(rest)


def paragraph(words: str) -> "Text":
    """Text of several lines."""
    from rich.text import Text

    return Text(visible(words, LONGEST_TEXT))
