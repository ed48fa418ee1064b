"""The line of each key in a TOML text.

tomli returns values without lines. This walks a text that tomli has accepted, so it does not check the syntax again.
"""

import re
from typing import Final

import tomli

#: Keys and array indices from the top: `("paper", "figures", 0, "top1")`.
KeyPath = tuple[str | int, ...]

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE: Final = re.compile(r"[^,\]}#\n]+")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_ONE_LINE_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
# Up to two quotes may come directly before the closing three.
_MANY_LINE_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:""|"(?!"))?|\'\'\'.*?\'\'\'(?:\'\'|\'(?!\'))?', re.DOTALL
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map every key, table and array element of `text`, which tomli accepts, to its line (from 1).

    A table that is only implied by its children has the line of the first child. The text must not nest arrays hundreds
    deep, which `parse_toml` refuses.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def dotted(path: KeyPath) -> str:
    """Write a path the way a user would: `paper.figures[0].top1`; a key that needs quotes gets them."""
    words: list[str] = []
    for part in path:
        if isinstance(part, int):
            words.append(f"[{part}]")
        else:
            word = part if _BARE_KEY.fullmatch(part) else repr(part)
            words.append(f".{word}" if words else word)
    return "".join(words)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self._line = 1
        self._counted = 0
        self._table_counts: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.position < len(self.text):
            if self._at("[["):
                table = self._array_header()
            elif self._at("["):
                table = self._table_header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _array_header(self) -> KeyPath:
        line = self._current_line()
        self.position += 2
        *parents, last = self._key()
        self.position += 2
        array = (*self._resolve(parents, line), last)
        index = self._table_counts.get(array, 0)
        self._table_counts[array] = index + 1
        self.lines.setdefault(array, line)
        self.lines[(*array, index)] = line
        return (*array, index)

    def _table_header(self) -> KeyPath:
        line = self._current_line()
        self.position += 1
        parts = self._key()
        self.position += 1
        table = self._resolve(parts, line)
        self.lines[table] = line
        return table

    def _resolve(self, parts: list[str], line: int) -> KeyPath:
        """The path of a header; the name of an array of tables refers to its last table."""
        path: KeyPath = ()
        for part in parts:
            path = (*path, part)
            self.lines.setdefault(path, line)
            if path in self._table_counts:
                path = (*path, self._table_counts[path] - 1)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._current_line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.position += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._at('"""') or self._at("'''"):
            self._skip(_MANY_LINE_STRING)
        elif self._at('"') or self._at("'"):
            self._skip(_ONE_LINE_STRING)
        elif self._at("["):
            self._array(path)
        elif self._at("{"):
            self._inline_table(path)
        else:
            self._skip(_BARE_VALUE)

    def _array(self, path: KeyPath) -> None:
        self.position += 1
        index = 0
        while not self._closed_by("]"):
            element = (*path, index)
            self.lines[element] = self._current_line()
            self._value(element)
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.position += 1
        while not self._closed_by("}"):
            self._pair(path)

    def _closed_by(self, bracket: str) -> bool:
        """Skip to the next element, past a comma; returns whether the closing bracket was next, and skips that."""
        self._skip(_BLANK)
        if self._at(","):
            self.position += 1
            self._skip(_BLANK)
        if not self._at(bracket):
            return False
        self.position += 1
        return True

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            quoted = self._at('"') or self._at("'")
            word = self._skip(_ONE_LINE_STRING if quoted else _BARE_KEY)
            parts.append(tomli.loads(f"key = {word}")["key"] if quoted else word)
            self._skip(_SPACE)
            if not self._at("."):
                return parts
            self.position += 1

    def _at(self, token: str) -> bool:
        return self.text.startswith(token, self.position)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            raise ValueError(f"not TOML at line {self._current_line()}")
        self.position = match.end()
        return match[0]

    def _current_line(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line
