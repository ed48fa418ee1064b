"""A preset merged with its parents, and where each value was written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rbp_engine.preset.fields import ABOUT
from rbp_engine.preset.overrides import Override
from rbp_engine.settings.documents import Document, KeyPath

#: What a preset file says that is no setting.
APART = frozenset({"extends", "sweep"})


@dataclass(frozen=True)
class Origin:
    """Where a value was written: in a line of a file, as messages show it, or in an override word."""

    file: str | None = None
    line: int | None = None
    word: str | None = None


@dataclass(frozen=True)
class Layers:
    """The values of a preset merged with those of its parents, and the origin of each key.

    A field is written as a whole by one file, the nearest that has it. `documents` are the preset and its parents, the
    child first, with their names for messages.
    """

    documents: Sequence[tuple[Document, str]] = ()
    values: dict[str, Any] = field(default_factory=dict)
    _overrides: list[Override] = field(default_factory=list)

    def origin(self, path: KeyPath) -> Origin | None:
        """The origin of a value, or of the nearest enclosing table or array that is a field or a section."""
        for one in reversed(self._overrides):
            parts = tuple(one.key.split("."))
            if path[: len(parts)] == parts:
                return Origin(word=one.word)
        for part in (path[:2], path[:1]):
            for document, name in self.documents:
                if value_at(document.values, part) is not None:
                    # A section is written in several places, so it says nothing about a field not written in it.
                    return None if len(part) < len(path) == 2 else Origin(name, document.line(path))
        return None

    def override(self, overrides: Iterable[Override]) -> None:
        """Set the values of overrides, creating tables on the way.

        A value where a table is needed is kept, to be reported later.
        """
        for one in overrides:
            *parents, last = one.key.split(".")
            table = self.values
            for part in parents:
                inner = table.setdefault(part, {})
                if not isinstance(inner, dict):
                    break
                table = inner
            else:
                table[last] = one.value
                self._overrides.append(one)


def value_at(values: Any, path: KeyPath) -> Any:
    """The value at a path of keys in tables; None if there is none."""
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def stack(documents: Sequence[tuple[Document, str]]) -> Layers:
    """Merge documents (with their names for messages); the child comes first in the list.

    Sections merge field by field; a field is replaced as a whole, even an array or table. `title`, `description` and
    `paper` describe one preset and are not inherited.
    """
    values: dict[str, Any] = {}
    for number, (document, _) in reversed([*enumerate(documents)]):
        for key, value in document.values.items():
            if key in APART or (number > 0 and key in ABOUT):
                continue
            if not isinstance(value, dict) or key == "paper":
                values[key] = value
                continue
            # Keep the section itself, so that an empty or unknown one is still reported.
            section = values.setdefault(key, {})
            if isinstance(section, dict):
                section.update(value)
    return Layers(documents, values)
