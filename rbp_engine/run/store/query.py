"""The query language of lists: `acc>0.9 T=4 status:running method:rate_m tag:x not:digits`.

All terms side by side must hold; `or` separates alternatives. A term is

* `FIELD OP VALUE` with one of = != < <= > >=, as `acc>90%`, `lr=0.1`, `age<3h`, `neuron.decay!=0.2`; a text is equal as
  a whole, an id also by its last characters, and a date is its whole day;
* `FIELD:WORD`, where the word is a part of the text, ignoring case, as `method:rate`; of numbers and dates as with =;
* a bare word, which is a part of the id, preset, name, method, a tag or the note; `archived` is in the archive;

and a `not:`, `not` or `-` before a term negates it. Quote words with spaces or signs. An unknown value fits no
comparison; a negated term fits exactly the runs that the term does not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.query_fields import Test, choices_of, find_field, no_run_has, word_fits
from rbp_engine.run.store.store import RunRecord, find_run, list_runs
from rbp_engine.vocabulary import OWN_CODE

_WORD = r""""[^"]*"|'[^']*'|[^\s"']+"""
_NEGATION = re.compile(r"-|not(?::\s*|\s+|$)", re.IGNORECASE)
_WHOLE = re.compile(r"\s*(?<![!<>])=\s*")
_OR = re.compile(r"or(?=\s|$)", re.IGNORECASE)
_COMPARISON = re.compile(rf"(?P<field>[^\W\d][\w.-]*)(?P<sign>:|\s*(?:!=|<=|>=|=|<|>)\s*)(?P<value>{_WORD})?")
_BARE = re.compile(_WORD)
ARCHIVED = "archived"
_NOTHING = (None, "", ())


class QueryError(RunError):
    """An invalid query: which term is wrong, and where it begins (counted from 0)."""

    def __init__(self, term: str, position: int, message: str) -> None:
        self.term = term
        self.position = position
        super().__init__(f"query, at character {position + 1}: {f'{term!r}: ' if term else ''}{message}")


@dataclass(frozen=True)
class Query:
    """Tests of runs. `about_archived`: it asks whether runs are in the archive.

    `doubts` are terms with a value that no preset has, each with the error if no run has it either.
    """

    alternatives: tuple[tuple[Test, ...], ...]
    about_archived: bool
    doubts: tuple[tuple[Test, QueryError], ...] = ()

    def require_known(self, records: Sequence[RunRecord]) -> None:
        """Raise QueryError for a value that neither a preset nor one of these runs has, unless there are none."""
        for test, error in self.doubts:
            if records and not any(map(test, records)):
                raise error

    def __call__(self, record: RunRecord) -> bool:
        """Whether a run fits."""
        return any(all(test(record) for test in tests) for tests in self.alternatives)

    def lists(self, record: RunRecord) -> bool:
        """Whether lists show a run: it fits, and is not out of their way in the archive, if that is not asked for."""
        return (self.about_archived or not record.hidden) and self(record)


def is_query(word: str) -> bool:
    """Whether a word that may name a run belongs to a query: it has a sign, or joins words that have one."""
    return word.lower() in ("or", "not", "archived") or any(sign in word for sign in ":=<>")


def parse_query(text: str) -> Query:
    """The query; the empty one fits every run. Raises QueryError and no other exception."""
    return _Parser().parse(text)


class _Parser:
    """Parses a query."""

    def __init__(self) -> None:
        self.about_archived = False
        self.doubts: list[tuple[Test, QueryError]] = []

    def parse(self, text: str) -> Query:
        alternatives: list[list[Test]] = [[]]
        position = _skip_space(text, 0)
        while position < len(text):
            separator = _OR.match(text, position)
            if separator is None:
                test, position = self._term(text, position)
                alternatives[-1].append(test)
            else:
                if not alternatives[-1]:
                    raise QueryError("or", position, "there is nothing before it")
                alternatives.append([])
                if not text[separator.end() :].strip():
                    raise QueryError("or", position, "there is nothing behind it")
                position = separator.end()
            position = _skip_space(text, position)
        return Query(tuple(map(tuple, alternatives)), self.about_archived, tuple(self.doubts))

    def _term(self, text: str, start: int) -> tuple[Test, int]:
        """Parse the term that begins at `start`; returns its test and its end."""
        position, negated = start, False
        while negation := _NEGATION.match(text, position):
            position, negated = negation.end(), not negated
        if position >= len(text) or text[position].isspace() or (position > start and _OR.match(text, position)):
            raise QueryError(text[start:position].strip(), start, "there is nothing behind it to turn round")
        comparison = _COMPARISON.match(text, position)
        word = comparison or _BARE.match(text, position)
        if word is None:
            raise QueryError(text[start:], start, "a quote is not closed")
        term, end = text[start : word.end()], word.end()
        if end < len(text) and not text[end].isspace():
            raise QueryError(text[start:], start, "a quote stands in the middle of a word, or is not closed")
        try:
            test = self._contained(word[0]) if comparison is None else self._compared(comparison, term, start)
        except ValueError as error:
            raise QueryError(term, start, str(error)) from None
        return (lambda record: not test(record)) if negated else test, end

    def _contained(self, word: str) -> Test:
        if word[0] not in "\"'" and (word[0] == ":" or any(sign in word for sign in "=<>")):
            raise ValueError("a comparison begins with the name of a field, as acc>0.9")
        if word == "%":
            raise ValueError("a percentage is one word, without a space: acc>90%")
        if word.lower() == ARCHIVED:
            self.about_archived = True
            return find_field(ARCHIVED).test("=", "true")
        return word_fits(_unquoted(word))

    def _compared(self, comparison: re.Match[str], term: str, start: int) -> Test:
        if comparison["value"] is None:
            raise ValueError(f"there is nothing behind the {comparison['sign'].strip()}")
        field = find_field(comparison["field"])
        self.about_archived |= field.name == ARCHIVED
        sign, value = comparison["sign"].strip(), _unquoted(comparison["value"])
        test, known, wanted = field.test(sign, value), choices_of(field), value.lower()
        found = any(wanted in one.lower() if sign == ":" else wanted == one.lower() for one in known)
        if known and not found and not OWN_CODE.match(value):
            has = field.test("=" if sign == "!=" else sign, value)
            self.doubts.append((has, QueryError(term, start, no_run_has(field.name, value, known))))
        return test


def _unquoted(word: str) -> str:
    return word[1:-1] if word[0] in "\"'" else word


def _skip_space(text: str, position: int) -> int:
    return len(text) - len(text[position:].lstrip())


def select_runs(runs: Path, words: Sequence[str], *, archived: bool = False) -> list[RunDirectory]:
    """The selected runs, each once: all words of queries are one query, as `is_query` knows them, others a run each.

    Beside a query, a word that names no run is a term of it, as in lists. A query finds runs in the archive only if it
    asks for them, or with `archived`.
    Raises RunError for a reference that fits no run or several, and for a query that is invalid or fits none.
    """
    chosen: dict[RunDirectory, None] = {}
    terms = []
    for word in words:
        if is_query(word):
            terms.append(word)
            continue
        try:
            chosen[find_run(runs, word)] = None
        except RunError:
            if not any(map(is_query, words)):
                raise
            terms.append(word)
    if query := " ".join(terms):
        found = fitting_runs(runs, query, archived=archived)
        if not found:
            raise RunError(f"no run in {runs} fits {query!r}{why_none_fits(query, list_runs(runs))}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def why_none_fits(query: str, records: Sequence[RunRecord]) -> str:
    """What to say of a query that none of the runs fits, if it may be meant in another way; else empty."""
    parts = _WHOLE.sub(":", query)
    if parts != query and (count := sum(map(parse_query(parts), records))):
        return f": = compares whole texts; {parts!r} finds {count}"
    terms = query.split()
    return ": a run must fit all of it; 'or' between terms finds either" if len(terms) > 1 and "or" not in terms else ""


def fitting_runs(runs: Path, query: str, *, archived: bool = False) -> list[RunDirectory]:
    """The runs that fit a query, oldest first; those in the archive as for `select_runs`. Raises QueryError."""
    asked = parse_query(query)
    fits = asked if archived else asked.lists
    records = list_runs(runs)
    asked.require_known(records)
    return [record.run for record in records if fits(record)]


def sort_runs(records: Sequence[RunRecord], field_name: str) -> list[RunRecord]:
    """Sort by a field, accuracies from the best; `-field` reverses the order; unknown values come last.

    Raises ValueError for an unknown field, and names the nearest one.
    """
    field = find_field(field_name.removeprefix("-"))
    pairs = [(field.get(record), record) for record in records]
    unknown = [record for value, record in pairs if value in _NOTHING]
    known = [(value, record) for value, record in pairs if value not in _NOTHING]
    known.sort(key=lambda pair: _in_order(pair[0]), reverse=descends(field_name))
    return [record for _, record in known] + unknown


def _in_order(value: Any) -> tuple[bool, Any]:
    """Numbers before texts: entries of a preset's tables may be either."""
    is_number = isinstance(value, (int, float))
    return not is_number, value if is_number else str(value).lower()


def descends(field_name: str) -> bool:
    """Whether the order begins with the largest value. Raises ValueError for an unknown field."""
    return field_name.startswith("-") is not (find_field(field_name.removeprefix("-")).kind == "accuracy")


def reversed_order(field_name: str) -> str:
    """The opposite order."""
    return field_name.removeprefix("-") if field_name.startswith("-") else f"-{field_name}"
