"""A preset merged with its parents, and where each value was written."""

from dataclasses import dataclass
from typing import Any

from rbp_engine.settings.documents import Document
from rbp_engine.settings.lines import KeyPath


@dataclass(frozen=True)
class Origin:
    """Where a value was written: in a line of a file, as messages show it, or in an override word."""

    file: str | None = None
    line: int | None = None
    word: str | None = None


@dataclass(frozen=True)
class Layers:
    """The values of a preset merged with those of its parents, and the origin of each key."""

    values: dict[str, Any]
    origins: dict[KeyPath, Origin]

    def origin(self, path: KeyPath) -> Origin | None:
        """The origin of a value, or of the nearest enclosing table or array that is a field or a section."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                # A section is written in several places, so it says nothing about a field that is not written in it.
                return None if length == 1 and len(path) == 2 else self.origins[path[:length]]
        return None

    def written(self, path: KeyPath) -> Any:
        """The value at a path of keys; None if there is none."""
        value: Any = self.values
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def replace(self, path: KeyPath, value: Any, origins: dict[KeyPath, Origin]) -> None:
        """Set the value at a path of keys, creating tables on the way, and drop the origins of the old value.

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
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins.update(origins)


def stack(documents: list[tuple[Document, str]]) -> Layers:
    """Merge documents (with their names for messages); the child comes first in the list.

    Sections merge field by field; a field is replaced as a whole, even an array or table. `title`, `description` and
    `paper` describe one preset and are not inherited.
    """
    layers = Layers({}, {})
    for index, (document, name) in reversed(list(enumerate(documents))):
        own = {
            key: value
            for key, value in document.values.items()
            if key != "extends" and (index == 0 or key not in {"title", "description", "paper"})
        }
        for key, value in own.items():
            if isinstance(value, dict) and key != "paper":
                # Keep the section itself, so that an empty or unknown one is still reported.
                layers.values.setdefault(key, {})
                layers.origins.setdefault((key,), Origin(name, document.lines.get((key,))))
                for field, inner in value.items():
                    layers.replace((key, field), inner, _origins(document, name, (key, field)))
            else:
                layers.replace((key,), value, _origins(document, name, (key,)))
    return layers


def _origins(document: Document, name: str, prefix: KeyPath) -> dict[KeyPath, Origin]:
    return {path: Origin(name, line) for path, line in document.lines.items() if path[: len(prefix)] == prefix}
