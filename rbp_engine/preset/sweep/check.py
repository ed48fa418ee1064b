"""Read `[sweep]` as strictly as the rest of a preset: every problem at once, with its key and line."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rbp_engine.preset.fields import FieldInfo, by_key, field_of, fields_of, is_whole, role_of
from rbp_engine.preset.find import shown
from rbp_engine.preset.overrides import SHORT_NAMES, parse_overrides, setting_word
from rbp_engine.preset.own_code import FIELDS, own_file
from rbp_engine.preset.pretrained import TEACHER, is_path_of_weights
from rbp_engine.preset.sweep.section import SEARCHES, SweepSection, Varied
from rbp_engine.preset.validate import problems_of_value, read_model
from rbp_engine.settings.documents import Document, KeyPath, dotted
from rbp_engine.settings.problems import Problem
from rbp_engine.settings.spelling import describe_value

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

SECTION = "sweep"
OF_A_RANGE = ("from", "to", "log")
WEIGHTS = "model.pretrained"
#: Fields that may name a file, which a preset names relative to itself and a command relative to where it is typed.
NAMES_FILES = frozenset({*(".".join(names) for names in FIELDS), WEIGHTS, TEACHER})


def read_sweep(documents: Sequence[Document]) -> tuple[SweepSection | None, list[Problem]]:
    """The section of a preset, or of the nearest parent that has one, and its problems; None if there is none.

    `documents` are the preset and its parents. A section is never merged with that of a parent.
    """
    for document in documents:
        if SECTION in document.values:
            name = None if document is documents[0] else shown(document.path)
            reader = _Reader(document, name)
            section = reader.read(document.values[SECTION])
            return section, sorted(reader.problems, key=lambda problem: problem.line or 0)
    return None, []


def sweep_fields() -> list[FieldInfo]:
    """What the section may say, by dotted key."""
    from rbp_engine.preset.sections.sweep import Sweep

    return fields_of(Sweep, f"{SECTION}.")


def contradictions(table: dict[str, Any]) -> list[tuple[str, str]]:
    """What does not go together in the section, as keys and what is wrong with them."""
    searches, seeds = table.get("search") in SEARCHES, table.get("seeds")
    several, alone = isinstance(seeds, list) and len(seeds) > 1, 'belongs to a search: search = "tpe" is missing'
    rules = (
        ("list", "grid" in table, "takes the place of [sweep.grid]: leave one of them out"),
        ("list", searches, "a search varies each setting by itself: leave one of them out"),
        (
            "search",
            searches and not table.keys() & {"grid", "random"},
            "there is nothing to search: [sweep.random], its space, is missing",
        ),
        ("seeds", searches and several, "a search trains each trial once: leave out all seeds but one"),
        ("prune", "search" not in table, alone),
        (
            "random",
            not searches and "trials" not in table,
            "how many times to draw is missing: trials = 20 in [sweep]",
        ),
        (
            "trials",
            not searches and "random" not in table,
            "there is nothing to draw: [sweep.random] is missing",
        ),
    )
    return [(key, message) for key, wrong, message in rules if wrong and key in table]


@dataclass
class _Reader:
    document: Document
    name: str | None
    problems: list[Problem] = field(default_factory=list)

    def read(self, written: Any) -> SweepSection:
        from rbp_engine.preset.sections.sweep import Sweep

        checked = self._checked(Sweep, written, (SECTION,), sweep_fields())
        table = written if isinstance(written, dict) else {}
        for key, message in contradictions(table):
            self._problem((SECTION, key), message)
        varied: dict[str, list[Varied]] = {"grid": [], "random": []}
        for kind, path, key, value in self._varying(table):
            varied[kind] += self._varied(path, key, value, draws=kind == "random")
        combinations = table["list"] if isinstance(table.get("list"), list) else []
        listed = [
            tuple(word for place, key, value in self._settings(one, path) for word in self._word(place, key, value))
            for path, one in (((SECTION, "list", number), one) for number, one in enumerate(combinations))
        ]
        if checked is None:
            return SweepSection()
        self._refuse_twice((SECTION, "seeds"), checked.seeds)
        plain = checked.model_dump(exclude_unset=True, include={"trials", "search", "prune"})
        grid, drawn = map(tuple, varied.values())
        return SweepSection(tuple(checked.seeds), grid=grid, listed=tuple(listed), drawn=drawn, written=table, **plain)

    def _checked(self, model: "type[Model]", written: Any, path: KeyPath, known: Sequence[FieldInfo]) -> "Model | None":
        """A table as a model; None, and a problem for each wrong value, if it is not one. `known` are its fields."""
        found, wrong = read_model(model, written, lambda: known, path)
        for place, message in wrong:
            self._problem(place, message)
        return found

    def _varying(self, table: dict[str, Any]) -> Iterator[tuple[str, KeyPath, str, Any]]:
        """The settings of the grid and those that are drawn, with the table, the place and the key of each."""
        places: dict[str, KeyPath] = {}
        for kind in ("grid", "random"):
            for path, key, value in self._settings(table.get(kind), (SECTION, kind), enter_tables=True):
                if key in places:
                    self._problem(path, f"is the same setting as {dotted(places[key])}: leave one of them out")
                places.setdefault(key, path)
                yield kind, path, key, value

    def _varied(self, path: KeyPath, key: str, written: Any, *, draws: bool) -> Iterator[Varied]:
        """What varies a setting, if it is well written: its values or, with `draws`, a range of numbers."""
        if draws and isinstance(written, dict):
            yield from self._range(path, key, written)
        elif not isinstance(written, list):
            expected = "values, as [0, 0.5], or {from = 0.01, to = 0.5}" if draws else "an array of values"
            self._problem(path, f"expected {expected}, got {describe_value(written)}")
        elif not written:
            self._problem(path, "expected at least one value")
        elif words := [word for number, one in enumerate(written) for word in self._word((*path, number), key, one)]:
            values = tuple(word.partition("=")[2] for word in words)
            self._refuse_twice(path, values)
            yield Varied(words[0].partition("=")[0], values)

    def _range(self, path: KeyPath, key: str, written: dict[str, Any]) -> Iterator[Varied]:
        from rbp_engine.preset.sections.sweep import Range

        checked = self._checked(Range, written, path, fields_of(Range, f"{'.'.join(map(str, path))}."))
        if checked is None:
            return
        ends = [word for name in ("from", "to") for word in self._word((*path, name), key, written[name])]
        if len(ends) < 2:
            return
        whole = is_whole(key) and all(type(written[name]) is int for name in ("from", "to"))
        one = Varied(ends[0].partition("=")[0], (), checked.low, checked.high, checked.log, whole)
        if one.fault:
            self._problem((*path, "from"), one.fault)
        else:
            yield one

    def _refuse_twice(self, path: KeyPath, values: Iterable[object]) -> None:
        for value, count in Counter(values).items():
            if count > 1:
                self._problem(path, f"{value} is there twice")

    def _settings(
        self, written: Any, path: KeyPath, *, enter_tables: bool = False
    ) -> Iterator[tuple[KeyPath, str, Any]]:
        """The settings in a table, with the place and the dotted key of each; those in tables of a section, too.

        `enter_tables`: a table cannot be a value here, so that one contains settings.
        """
        for name, value in written.items() if isinstance(written, dict) else ():
            above, place = ".".join(str(part) for part in path[2:] if isinstance(part, str)), (*path, name)
            written_as = f"{above}.{name}" if above else str(name)
            key = SHORT_NAMES.get(written_as, written_as)
            inner = value if isinstance(value, dict) else {}
            if inner and not (inner.keys() & set(OF_A_RANGE) if enter_tables else written_as in by_key()):
                yield from self._settings(inner, place, enter_tables=enter_tables)
                continue
            if field_of(key) is None:
                self._problem(place, parse_overrides([f"{key}=0"])[1][0].message)
            elif key == "run.seed":
                self._problem(place, "seeds are what all combinations have in common: seeds = [1, 2, 3] in [sweep]")
            elif role_of(key) == "place" and key != WEIGHTS:
                self._problem(
                    place, "changes nothing of what is trained, so that no run could be told from another by it"
                )
            else:
                yield place, key, value

    def _word(self, path: KeyPath, key: str, value: Any) -> list[str]:
        """The override word of a value; none, and a problem, if the setting cannot have that value."""
        found = problems_of_value(key, value)
        for message in found:
            self._problem(path, message)
        return [] if found else [setting_word(key, self._from_here(key, value))]

    def _from_here(self, key: str, value: Any) -> Any:
        """The value, where it names a file by a path relative to the preset: relative to the working directory."""
        if key not in NAMES_FILES or not isinstance(value, str):
            return value
        is_path = key == WEIGHTS or (key == TEACHER and is_path_of_weights(value))
        file = value if is_path else own_file(value)
        if not file or os.path.isabs(os.path.expanduser(file)):  # noqa: PTH111, PTH117  # unknown ~user
            return value
        path = os.path.relpath(self.document.path.absolute().parent / file)
        return (path if not path.startswith("..") else str(Path(path).absolute())) + value.removeprefix(file)

    def _problem(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(dotted(path), message, self.document.line(path), self.name))
