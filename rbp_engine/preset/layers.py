"""A preset merged with its parents, and where each value was written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

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
class _File:
    """A preset file, with its name as messages show it."""

    name: str
    document: Document


@dataclass(frozen=True)
class Layers:
    """The values of a preset merged with those of its parents, and the origin of each key.

    A field is written as a whole by one file, the nearest that has it, so that merging takes a step for each field and
    not for each of its lines.
    """

    values: dict[str, Any] = field(default_factory=dict)
    _sections: dict[str, _File] = field(default_factory=dict)
    _fields: dict[str, dict[str, _File]] = field(default_factory=dict)
    _words: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin | None:
        """The origin of a value, or of the nearest enclosing table or array that is a field or a section."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._words:
                return Origin(word=self._words[path[:length]])
        for length in range(len(path), 0, -1):
            source = self._source(path[:length])
            line = None if source is None else source.document.lines.get(path[:length])
            if source is not None and line is not None:
                # A section is written in several places, so it says nothing about a field that is not written in it.
                return None if length == 1 and len(path) == 2 else Origin(source.name, line)
        return None

    def written(self, path: KeyPath) -> Any:
        """The value at a path of keys; None if there is none."""
        value: Any = self.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def fields(self) -> Iterator[KeyPath]:
        """The path of every written field, and of every key of a field that is a table."""
        for section, table in self.values.items():
            if not isinstance(table, dict):
                yield (section,)
                continue
            for name, value in table.items():
                yield (section, name)
                if isinstance(value, dict):
                    yield from ((section, name, key) for key in value)

    def override(self, path: KeyPath, value: Any, word: str) -> None:
        """Set the value at a path of keys from an override word, creating tables on the way.

        A value where a table is needed is kept, to be reported later.
        """
        *parents, last = path
        table = self.values
        for part in parents:
            inner = table.setdefault(str(part), {})
            if not isinstance(inner, dict):
                return
            table = inner
        table[str(last)] = value
        for known in [known for known in self._words if known[: len(path)] == path]:
            del self._words[known]
        self._words[path] = word

    def put_over(self, document: Document, name: str, *, inherited: bool) -> None:
        """Put a document, called `name` in messages, over what there is."""
        file = _File(name, document)
        for key, value in document.values.items():
            if key in APART or (inherited and key in {"title", "description", "paper"}):
                continue
            if not isinstance(value, dict) or key == "paper":
                self.values[key] = value
                self._sections[key] = file
                self._fields.pop(key, None)
                continue
            # Keep the section itself, so that an empty or unknown one is still reported.
            section = self.values.setdefault(key, {})
            self._sections.setdefault(key, file)
            if isinstance(section, dict):
                section.update(value)
                self._fields.setdefault(key, {}).update(dict.fromkeys(value, file))

    def _source(self, path: KeyPath) -> _File | None:
        """The file that the field of a path, or else its section, was written in."""
        section = str(path[0])
        of_field = self._fields.get(section, {}).get(str(path[1])) if len(path) > 1 else None
        return of_field or self._sections.get(section)


def stack(documents: list[tuple[Document, str]]) -> Layers:
    """Merge documents (with their names for messages); the child comes first in the list.

    Sections merge field by field; a field is replaced as a whole, even an array or table. `title`, `description` and
    `paper` describe one preset and are not inherited.
    """
    layers = Layers()
    for index, (document, name) in reversed(list(enumerate(documents))):
        layers.put_over(document, name, inherited=index > 0)
    return layers
