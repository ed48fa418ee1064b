"""Text that others wrote, made safe to show: the one filter between it and a terminal, a table or a file for people.

A run, a preset or a log from elsewhere may contain characters that a terminal obeys (it clears the screen, changes the
title, fills the clipboard), that reorder what is read, or that cannot be seen. Here they become escapes, like `\\x1b`.
Everything else stays, in every script.

`Line` and `Lines` are the types of text that has passed. Records that are read from files of a run have no other text,
and what prints takes no other, so that mypy finds text that has not been filtered.
"""

import re
from typing import NewType

#: Text of any number of lines without a character that a terminal would obey.
Lines = NewType("Lines", str)
#: The same on a single line.
Line = NewType("Line", Lines)

NO_TEXT = Line(Lines(""))

#: A longer text is cut where people read it; `--json` and files have all of it.
LONGEST_TEXT = 2000
LONGEST_NAME = 200

# Control characters of ASCII, but tabs and ends of lines, and of Latin-1, bidirectional controls, invisible signs, and
# halves of surrogate pairs.
_SIGNS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
_UNSAFE = re.compile(f"[\t\n{_SIGNS}]")
_UNSAFE_IN_LINES = re.compile(f"[\t{_SIGNS}]")
_BREAKS = frozenset("\t\n\v\f\r\x85\u2028\u2029")
_SET_COLOUR = r"\x1b\[[0-9;:]{0,64}m"
# A sign that is repeated is one match: the holes of sparse files are megabytes of zeros.
_UNSAFE_IN_LOG = re.compile(rf"({_SET_COLOUR})|\r\n?|\x1b|([{_SIGNS}])\2*")
#: What a chunk of a log may end with that the next one continues: the beginning of a colour, or of a line break.
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")
_FORMULA = tuple("=+-@＝＋－＠")


def one_line(text: str, limit: int | None = None) -> Line:
    """The text on one line: breaks and tabs become spaces; at most `limit` characters, the last of them then "…"."""
    if not _is_safe(text):
        text = _UNSAFE.sub(lambda found: " " if found[0] in _BREAKS else _escape(found[0]), text)
    return Line(Lines(_cut(text, limit)))


def visible(text: str, limit: int | None = None) -> Lines:
    """The text with its line breaks; tabs become spaces. At most `limit` characters, the last of them then "…"."""
    if not _is_safe(text):
        text = _UNSAFE_IN_LINES.sub(_shown, text.replace("\r\n", "\n"))
    return Lines(_cut(text, limit))


def without_controls(text: str) -> Line:
    """The text without its control characters, where others in their place would take room that there is not."""
    return Line(Lines(text if _is_safe(text) else _UNSAFE.sub("", text)))


def keep_colours(text: str) -> Lines:
    """Part of a log with its colours (SGR), line breaks and tabs; each state of a progress bar has its own line."""
    return Lines(text if _is_safe(text) else _UNSAFE_IN_LOG.sub(_shown_in_log, text))


def unfinished(text: str) -> int:
    """How many characters at the end of a part of a log mean something only with what follows."""
    found = _UNFINISHED.search(text)
    return len(found[0]) if found else 0


def for_csv(value: object) -> object:
    """The value of a cell; text on one line, and such that a spreadsheet does not take it for a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _is_number(text) else text


def in_json(text: str) -> Lines:
    """JSON with escapes for what it may hold raw, but a terminal should not get; it means the same as before."""
    return Lines(text if _is_safe(text) else _UNSAFE_IN_LINES.sub(_json_escape, text))


def json_line(line: bytes) -> Line:
    """A line of JSON as it stands in a file, with such escapes; a line that is no JSON becomes printable, too."""
    return one_line(in_json(line.decode(errors="replace")))


def _is_safe(text: str) -> bool:
    return text.isprintable()  # which few names and messages are not, and which takes no time


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"


def _escape(sign: str) -> str:
    # In a string of TOML, where the first do not occur raw, these mean what they stand for.
    number = ord(sign)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _shown(found: re.Match[str]) -> str:
    return "    " if found[0] == "\t" else _escape(found[0])


def _shown_in_log(found: re.Match[str]) -> str:
    sign = found[0]
    if found[1]:
        return sign
    return "\n" if sign in ("\r", "\r\n") else _escape(sign[0]) * len(sign)


def _json_escape(found: re.Match[str]) -> str:
    sign = found[0]
    if sign in "\t\r":  # between the values; in a string they are escaped already
        return " "
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
