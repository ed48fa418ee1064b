"""The settings of runs in a list, from their presets: read fast, because there are thousands of them."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from rbp_engine.preset import SHORT_NAMES, fields
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_engine.untrusted_files import TOML_LIMIT, parse_toml, read_untrusted

#: The fields of one section by dotted key. Runs whose sections have the same text share it.
Section: TypeAlias = Mapping[str, Any]

# More runs than any list has: settings that do not fit are read anew each time that somebody goes through the list.
_RUNS_KEPT, _SECTIONS_KEPT = 65_536, 4096
_DATA = "data.name"
#: Settings of a run that another program trains, which presets do not have.
OF_OTHER_PROGRAMS = "settings."


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run; without sections if its preset cannot be read."""

    sections: tuple[Section, ...] = ()

    def get(self, key: str) -> Any:
        """The value of a field, as `optim.lr`, or of a table's entry, as `data.args.path`; None if there is none.

        Of tables in a list, as `paper.figures.top1`, all values.
        """
        table, _, entry = key.rpartition(".")
        listed = []
        for section in self.sections:
            if key in section:
                return section[key]
            inner = section.get(table)
            if isinstance(inner, dict) and entry in inner:
                return inner[entry]
            if isinstance(inner, list):
                listed += [one[entry] for one in inner if isinstance(one, dict) and entry in one]
        return listed or None


def settings_of(record: RunRecord) -> RunSettings:
    """The settings of a run, read once: they never change, and another run of this id was made at another time."""
    return _settings(record.run, record.summary.created)


def read_settings(run: RunDirectory) -> RunSettings:
    """The settings of a run; those of an unreadable preset are empty."""
    try:
        return _parse(read_untrusted(run.preset_toml, TOML_LIMIT))
    except OSError:
        return RunSettings()


def forget() -> None:
    """Forget everything read, to measure how long it takes."""
    _settings.cache_clear()
    _section.cache_clear()


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _settings(run: RunDirectory, _created: float) -> RunSettings:
    return read_settings(run)


def dotted_key(name: str) -> str | None:
    """The key of a preset field, given by key or short name (`lr`), or of a table's entry; None if there is none."""
    key = SHORT_NAMES.get(name, name)
    kinds = field_types()
    table, _, entry = key.rpartition(".")
    if key.startswith(OF_OTHER_PROGRAMS):
        return key
    known = key in kinds or key in _fields_in_lists() or (entry and kinds.get(table, "").startswith("table"))
    return key if known else None


@functools.cache
def field_types() -> dict[str, str]:
    """The type, in words, of every field of a preset that has one value; by key, in the order of preset files."""
    return {info.key: info.type for info in fields() if "[]" not in info.key}


@functools.cache
def _fields_in_lists() -> frozenset[str]:
    """The fields of tables in a list, as `paper.figures.top1`."""
    return frozenset(info.key.replace("[]", "") for info in fields() if "[]" in info.key)


def differing_settings(records: Iterable[RunRecord]) -> list[str]:
    """The keys of the settings in which runs on the same data differ, those that change the result first.

    Of these, keys with short names come first. Settings of a place, such as the device, are not among them. A run
    without a value, of an older version, differs from none; but the entries of a table need not be there.
    """
    by_data: dict[Any, dict[int, Section]] = {}
    for settings in map(settings_of, records):
        group = by_data.setdefault(str(settings.get(_DATA)), {})
        group.update((id(section), section) for section in settings.sections)
    found = {key for sections in by_data.values() for key in _differing(sections.values())}
    if not found:
        return []  # without reading the schema, which takes a moment
    order = {info.key: number for number, info in enumerate(fields())}
    roles = {info.key: info.role for info in fields()}
    short = set(SHORT_NAMES.values())

    def rank(key: str) -> tuple[bool, bool, int, str]:
        field = key if key in roles else key.rpartition(".")[0]
        return roles.get(field) != "result", key not in short, order.get(field, len(order)), key

    known = [
        key
        for key in found
        if roles.get(key, roles.get(key.rpartition(".")[0])) in ("result", "cost") or key.startswith(OF_OTHER_PROGRAMS)
    ]
    return sorted(known, key=rank)


def _differing(sections: Iterable[Section]) -> set[str]:
    """The keys with several values; of tables, the keys of their entries."""
    several = list(sections)
    entries: dict[str, set[str]] = {}
    for section in several:
        for key, value in section.items():
            if isinstance(value, dict):
                entries.setdefault(key, set()).update(value)
    first: dict[str, Any] = {}
    differing = set()
    for section in several:
        for key, value in _leaves(section, entries):
            if first.setdefault(key, value) != value:
                differing.add(key)
    return differing


def _leaves(section: Section, entries: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{entry}", value.get(entry)) for entry in entries[key])
        else:
            yield key, value


def _parse(content: bytes) -> RunSettings:
    """The settings in a `preset.toml`, section by section: thousands of runs have few different sections.

    A section is the text up to the next line that begins with a bracket, as in every file that rbp writes. Another file
    is parsed as a whole.
    """
    with suppress(ValueError):
        text = content.decode("utf-8-sig")
        head, *sections = f"\n{text}".split("\n[")
        with suppress(ValueError):
            return RunSettings((_section(head), *(_section(f"[{section.rstrip()}") for section in sections)))
        return RunSettings((_section(text),))
    return RunSettings()


@functools.lru_cache(maxsize=_SECTIONS_KEPT)
def _section(text: str) -> Section:
    section: dict[str, Any] = {}
    for name, value in parse_toml(text).items():
        section |= (
            {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    return section
