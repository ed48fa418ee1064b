"""A preset merged with its parents, and where each value was written."""

from collections.abc import Iterable, Iterator
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

    A field is written as a whole by one file, the nearest that has it, so that merging takes a step for each field and
    not for each of its lines.
    """

    values: dict[str, Any] = field(default_factory=dict)
    _files: dict[KeyPath, tuple[str, Document]] = field(default_factory=dict)  # by section, and by section and field
    _words: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin | None:
        """The origin of a value, or of the nearest enclosing table or array that is a field or a section."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._words:
                return Origin(word=self._words[path[:length]])
        for length in range(len(path), 0, -1):
            name, document = self._files.get(path[: min(length, 2)]) or self._files.get(path[:1]) or ("", None)
            line = document.lines.get(path[:length]) if document is not None else None
            if line is not None:
                # A section is written in several places, so it says nothing about a field that is not written in it.
                return None if length == 1 and len(path) == 2 else Origin(name, line)
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

    def override(self, overrides: Iterable[Override]) -> None:
        """Set the values of overrides, creating tables on the way.

        A value where a table is needed is kept, to be reported later.
        """
        for one in overrides:
            self._set(tuple(one.key.split(".")), one.value, one.word)

    def _set(self, path: KeyPath, value: Any, word: str) -> None:
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
        file = (name, document)
        for key, value in document.values.items():
            if key in APART or (inherited and key in ABOUT):
                continue
            if not isinstance(value, dict) or key == "paper":
                self.values[key] = value
                for known in [known for known in self._files if known[0] == key]:
                    del self._files[known]
                self._files[key,] = file
                continue
            # Keep the section itself, so that an empty or unknown one is still reported.
            section = self.values.setdefault(key, {})
            self._files.setdefault((key,), file)
            if isinstance(section, dict):
                section.update(value)
                self._files.update(((key, name), file) for name in value)


def stack(documents: list[tuple[Document, str]]) -> Layers:
    """Merge documents (with their names for messages); the child comes first in the list.

    Sections merge field by field; a field is replaced as a whole, even an array or table. `title`, `description` and
    `paper` describe one preset and are not inherited.
    """
    layers = Layers()
    for index, (document, name) in reversed(list(enumerate(documents))):
        layers.put_over(document, name, inherited=index > 0)
    return layers
