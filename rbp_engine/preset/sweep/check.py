"""Read `[sweep]` as strictly as the rest of a preset: every problem at once, with its key and line."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rbp_engine.preset.fields import FieldInfo, fields
from rbp_engine.preset.overrides import SHORT_NAMES, parse_overrides, setting_word
from rbp_engine.preset.own_code import FIELDS, own_file
from rbp_engine.preset.search import shown
from rbp_engine.preset.sweep.section import OBJECTIVES, PRUNERS, SEARCHES, Drawn, SweepSection
from rbp_engine.preset.sweep.varied import Varied
from rbp_engine.preset.validate import problems_of_value
from rbp_engine.settings.documents import Document
from rbp_engine.settings.lines import KeyPath, dotted
from rbp_engine.settings.problems import Problem
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.settings.values import describe_value

SECTION = "sweep"
MOST_SEEDS = 1000
MOST_TRIALS = 1000
MOST_VALUES = 1000
#: What the section may say, and what it means.
KEYS = {
    "seeds": "Array of integers: every combination is trained with each; the preset's own seed if left out.",
    "trials": "Integer: how many times [sweep.random] is drawn.",
    "search": 'Choice: "tpe" chooses the values of each trial by what earlier ones have reached.',
    "prune": "Choice: how a search stops trials that do worse than others at the same epoch.",
    "objective": 'Choice: a search looks for the top-1 of the "last" epoch or of the "best".',
    "grid": "Table, as T = [2, 4]: settings with their values, of which every combination is trained.",
    "list": "Array of tables, as T = 4, instead of a grid: the combinations, spelled out.",
    "random": "Table, as lr = {from = 0.01, to = 0.5, log = true}: settings that are drawn; the space of a search.",
}
OF_A_RANGE = ("from", "to", "log")
WEIGHTS, TEACHER = "model.pretrained", "loss.distill"
#: Fields that may name a file, which a preset names relative to itself and a command relative to where it is typed.
NAMES_FILES = frozenset({*(".".join(names) for names in FIELDS), WEIGHTS, TEACHER})
_ENDS = (".safetensors", ".pth", ".pt")


def read_sweep(documents: Sequence[Document]) -> tuple[SweepSection | None, list[Problem]]:
    """The section of a preset, or of the nearest parent that has one, and its problems; None if there is none.

    `documents` are the preset and its parents. A section is never merged with that of a parent.
    """
    for document in documents:
        if SECTION in document.values:
            name = None if document is documents[0] else shown(document.path)
            reader = _Reader(document, name, {info.key: info for info in fields()})
            section = reader.read(document.values[SECTION])
            return section, sorted(reader.problems, key=lambda problem: problem.line or 0)
    return None, []


@dataclass
class _Reader:
    document: Document
    name: str | None
    known: dict[str, FieldInfo]
    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def read(self, written: Any) -> SweepSection:
        if not self._is(written, dict, "a table", (SECTION,)):
            return SweepSection()
        for key in written:
            if key not in KEYS:
                guess = did_you_mean(key, KEYS) or f" Known here: {', '.join(KEYS)}"
                self._problem((SECTION, key), f"unknown key.{guess}")
        section = SweepSection(
            seeds=self._seeds(written.get("seeds", [])),
            trials=self._trials(written.get("trials", 0)),
            search=self._choice("search", SEARCHES),
            prune=self._choice("prune", PRUNERS),
            objective=self._choice("objective", OBJECTIVES),
            grid=tuple(self._grid(written.get("grid", {}))),
            listed=tuple(self._listed(written.get("list", []))),
            drawn=tuple(self._drawn(written.get("random", {}))),
        )
        self._contradictions(written, section)
        if self.values > MOST_VALUES:
            self._problem((SECTION,), f"at most {MOST_VALUES} values, got {self.values}")
        return section

    def _contradictions(self, written: dict[str, Any], section: SweepSection) -> None:
        if "grid" in written and "list" in written:
            self._problem((SECTION, "list"), "takes the place of [sweep.grid]: leave one of them out")
        if section.search:
            self._contradictions_of_search(written)
        else:
            self._contradictions_without_search(written)
        places: dict[str, KeyPath] = {}
        for kind in ("grid", "random"):
            for path, key, _ in self._settings(written.get(kind), (SECTION, kind), enter_tables=True, silent=True):
                if key in places:
                    self._problem(path, f"is the same setting as {dotted(places[key])}: leave one of them out")
                places.setdefault(key, path)

    def _contradictions_of_search(self, written: dict[str, Any]) -> None:
        if "random" not in written and "grid" not in written:
            self._problem((SECTION, "search"), "there is nothing to search: [sweep.random], its space, is missing")
        if "list" in written:
            self._problem((SECTION, "list"), "a search varies each setting by itself: leave one of them out")
        if "prune" in written and isinstance(seeds := written.get("seeds"), list) and len(seeds) > 1:
            self._problem((SECTION, "prune"), "judges a trial by one run: leave it out, or all seeds but one")

    def _contradictions_without_search(self, written: dict[str, Any]) -> None:
        if "random" in written and "trials" not in written:
            self._problem((SECTION, "random"), "how many times to draw is missing: trials = 20 in [sweep]")
        if "trials" in written and "random" not in written:
            self._problem((SECTION, "trials"), "there is nothing to draw: [sweep.random] is missing")
        for key in ("prune", "objective"):
            if key in written and "search" not in written:
                self._problem((SECTION, key), f'belongs to a search: search = "{SEARCHES[0]}" is missing')

    def _seeds(self, written: Any) -> tuple[int, ...]:
        path = (SECTION, "seeds")
        if not self._is(written, list, "an array", path):
            return ()
        seen: dict[int, None] = {}
        for number, seed in enumerate(written[:MOST_SEEDS]):
            if type(seed) is not int or not 0 <= seed < 10**18:
                self._problem((*path, number), f"expected a whole number from 0 on, got {describe_value(seed)}")
            elif seed in seen:
                self._problem((*path, number), f"{seed} is there twice")
            else:
                seen[seed] = None
        if len(written) > MOST_SEEDS:
            self._problem(path, f"at most {MOST_SEEDS}, got {len(written)}")
        if not written and "seeds" in self.document.values[SECTION]:
            self._problem(path, "expected at least one seed")
        return tuple(seen)

    def _trials(self, written: Any) -> int:
        given = "trials" in self.document.values[SECTION]
        if given and (type(written) is not int or not 1 <= written <= MOST_TRIALS):
            self._problem(
                (SECTION, "trials"), f"expected a whole number from 1 to {MOST_TRIALS}, got {describe_value(written)}"
            )
            return 0
        return int(written)

    def _choice(self, key: str, choices: Sequence[str]) -> str:
        written = self.document.values[SECTION].get(key)
        if written is None:
            return ""
        if not isinstance(written, str) or written not in choices:
            guess = did_you_mean(written, choices) if isinstance(written, str) else ""
            expected = f"expected one of {', '.join(choices)}, got {describe_value(written)}."
            self._problem((SECTION, key), f"{expected}{guess}")
            return ""
        return written

    def _grid(self, written: Any) -> Iterator[Varied]:
        for path, key, values in self._settings(written, (SECTION, "grid"), enter_tables=True):
            if words := self._values(path, key, values):
                yield Varied(words[0].partition("=")[0], tuple(word.partition("=")[2] for word in words))

    def _listed(self, written: Any) -> Iterator[tuple[str, ...]]:
        path = (SECTION, "list")
        if not self._is(written, list, "[[sweep.list]], an array of tables", path):
            return
        for number, combination in enumerate(written):
            if self._is(combination, dict, "a table", (*path, number)):
                yield tuple(
                    word
                    for place, key, value in self._settings(combination, (*path, number))
                    for word in self._word(place, key, value)
                )

    def _drawn(self, written: Any) -> Iterator[Drawn]:
        for path, key, spec in self._settings(written, (SECTION, "random"), enter_tables=True):
            if isinstance(spec, list):
                if words := self._values(path, key, spec):
                    yield Drawn(words[0].partition("=")[0], tuple(word.partition("=")[2] for word in words))
            elif isinstance(spec, dict):
                yield from self._range(path, key, spec)
            else:
                self._problem(
                    path, f"expected values, as [0, 0.5], or {{from = 0.01, to = 0.5}}, got {describe_value(spec)}"
                )

    def _range(self, path: KeyPath, key: str, spec: dict[str, Any]) -> Iterator[Drawn]:
        before = len(self.problems)
        for name in spec:
            if name not in OF_A_RANGE:
                guess = did_you_mean(name, OF_A_RANGE) or f" Known here: {', '.join(OF_A_RANGE)}"
                self._problem((*path, name), f"unknown key.{guess}")
        low, high, log = spec.get("from"), spec.get("to"), spec.get("log", False)
        for name, value in (("from", low), ("to", high)):
            if name not in spec:
                self._problem(path, f"{name} is missing, as in {{from = 0.01, to = 0.5}}")
            elif type(value) not in (int, float):
                self._problem((*path, name), f"expected a number, got {describe_value(value)}")
            else:
                self._word((*path, name), key, value)
        if type(log) is not bool:
            self._problem((*path, "log"), f"expected true or false, got {describe_value(log)}")
        if len(self.problems) > before or low is None or high is None:
            return
        if low >= high:
            self._problem((*path, "from"), f"must be less than to, {high}")
        elif log and low <= 0:
            self._problem((*path, "from"), "must be more than 0 with log = true")
        else:
            whole = type(low) is int and type(high) is int and self._is_whole(key)
            name = setting_word(key, low).partition("=")[0]
            yield Drawn(name, low=float(low), high=float(high), log=log, whole=whole)

    def _is_whole(self, key: str) -> bool:
        return key in self.known and "number" not in self.known[key].type

    def _settings(
        self, written: Any, path: KeyPath, *, enter_tables: bool = False, silent: bool = False
    ) -> Iterator[tuple[KeyPath, str, Any]]:
        """The settings in a table, with the place and the dotted key of each; those in tables of a section, too.

        `enter_tables`: a table cannot be a value here, so that one contains settings.
        """
        report: Callable[[KeyPath, str], None] = (lambda place, message: None) if silent else self._problem
        if not isinstance(written, dict):
            if written is not None:
                report(path, f"expected a table, got {describe_value(written)}")
            return
        for name, value in written.items():
            above = ".".join(str(part) for part in path[2:] if isinstance(part, str))
            written_as = f"{above}.{name}" if above else str(name)
            if isinstance(value, dict) and self._contains_settings(written_as, value, enter_tables=enter_tables):
                yield from self._settings(value, (*path, name), enter_tables=enter_tables, silent=silent)
                continue
            key, place = SHORT_NAMES.get(written_as, written_as), (*path, name)
            if not self._is_setting(key):
                report(place, parse_overrides([f"{key}=0"])[1][0].message)
            elif key == "run.seed":
                report(place, "seeds are what all combinations have in common: seeds = [1, 2, 3] in [sweep]")
            elif key in self.known and self.known[key].role == "place" and key != WEIGHTS:
                report(place, "changes nothing of what is trained, so that no run could be told from another by it")
            else:
                yield place, key, value

    def _is_setting(self, key: str) -> bool:
        table = self.known.get(key.rpartition(".")[0])
        return key in self.known or (table is not None and table.type.startswith("table"))

    def _contains_settings(self, key: str, value: dict[str, Any], *, enter_tables: bool) -> bool:
        """Whether a table has settings of a section, or entries of a field, and is not a value itself."""
        if key in self.known:
            is_table = self.known[key].type.startswith("table")
            return enter_tables and is_table and not value.keys() & set(OF_A_RANGE)
        return any(known.startswith(f"{key}.") for known in self.known)

    def _values(self, path: KeyPath, key: str, written: Any) -> list[str]:
        """The override word for each value of a list."""
        if not self._is(written, list, "an array of values", path):
            return []
        if not written:
            self._problem(path, "expected at least one value")
        words = [word for number, value in enumerate(written) for word in self._word((*path, number), key, value)]
        for word, count in Counter(words).items():
            if count > 1:
                self._problem(path, f"{word.partition('=')[2]} is there twice")
        return words

    def _word(self, path: KeyPath, key: str, value: Any) -> list[str]:
        """The override word of a value; none, and a problem, if the setting cannot have that value."""
        self.values += 1
        found = problems_of_value(key, value) if self.values <= MOST_VALUES else []
        for message in found:
            self._problem(path, message)
        if found or self.values > MOST_VALUES:
            return []
        return [setting_word(key, self._from_here(key, value))]

    def _from_here(self, key: str, value: Any) -> Any:
        """The value, where it names a file by a path relative to the preset: relative to the working directory."""
        if key not in NAMES_FILES or not isinstance(value, str):
            return value
        is_path = key == WEIGHTS or (key == TEACHER and ("/" in value or value.endswith(_ENDS)))
        file = value if is_path else own_file(value)
        if not file or os.path.isabs(os.path.expanduser(file)):  # noqa: PTH111, PTH117  # unknown ~user
            return value
        path = os.path.relpath(self.document.path.absolute().parent / file)
        return (path if not path.startswith("..") else str(Path(path).absolute())) + value.removeprefix(file)

    def _is(self, value: Any, kind: type, words: str, path: KeyPath) -> bool:
        if isinstance(value, kind):
            return True
        self._problem(path, f"expected {words}, got {describe_value(value)}")
        return False

    def _problem(self, path: KeyPath, message: str) -> None:
        lines = (self.document.lines.get(path[:length]) for length in range(len(path), 0, -1))
        self.problems.append(Problem(dotted(path), message, next(filter(None, lines), None), self.name))
