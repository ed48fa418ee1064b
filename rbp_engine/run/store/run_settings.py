"""The settings of runs in a list, from run.json: read fast, because there are thousands of them."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec import Raw

from rbp_engine.codec import decode
from rbp_engine.preset import SHORT_NAMES
from rbp_engine.preset.fields import field_of, role_of, settings
from rbp_engine.run.files.attempts import most_processes
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.store.store import RunRecord

#: The fields of one section by dotted key. Runs whose sections have the same text share it.
Section: TypeAlias = Mapping[str, Any]

# More runs than any list has: settings that do not fit are read anew each time that somebody goes through the list.
_RUNS_KEPT, _SECTIONS_KEPT = 65_536, 4096
_DATA = "data.name"
#: Settings of a run that another program trains, which presets do not have.
OF_OTHER_PROGRAMS = "settings."


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run; without sections if they cannot be read."""

    sections: tuple[Section, ...] = ()

    def get(self, key: str) -> Any:
        """The value of a field, as `optim.lr`, or of a table's entry, as `data.args.path`; None if there is none."""
        table, _, entry = key.rpartition(".")
        for section in self.sections:
            if key in section:
                return section[key]
            inner = section.get(table)
            if isinstance(inner, dict) and entry in inner:
                return inner[entry]
        return None


def settings_of(record: RunRecord) -> RunSettings:
    """The settings of a run, read once: they never change, and another run of this id was made at another time."""
    return _settings(record.run, record.summary.created)


def processes_apart(record: RunRecord) -> int:
    """The number of processes of a run of several, if each has taken batch norm's statistics of its own share; else 0.

    It changes the numbers, as a setting does: a mean is over runs that share it.
    """
    most = _most_processes(record.run, record.summary.created, record.summary.attempt)
    return most if most > 1 and not settings_of(record).get("train.sync_bn") else 0


def read_settings(run: RunDirectory) -> RunSettings:
    """The settings of a run; empty if they cannot be read."""
    try:
        sections = decode(dict[str, Raw], bytes(read_run_json(run).settings))
        return RunSettings(tuple(_section(name, bytes(text)) for name, text in sections.items()))
    except ValueError:
        return RunSettings()


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _settings(run: RunDirectory, _created: float) -> RunSettings:
    return read_settings(run)


@functools.lru_cache(maxsize=_RUNS_KEPT)
def _most_processes(run: RunDirectory, _created: float, _attempt: int) -> int:
    return most_processes(run)


def dotted_key(name: str) -> str | None:
    """The key of a preset field, given by key or short name (`lr`), or of a table's entry; None if there is none."""
    key = SHORT_NAMES.get(name, name)
    return key if key.startswith(OF_OTHER_PROGRAMS) or field_of(key) is not None else None


def differing_settings(records: Iterable[RunRecord]) -> list[str]:
    """The keys of the settings in which runs on the same data differ, those that change the result first.

    Of these, keys with short names come first. Settings of a place, such as the device, are not among them. The
    entries of a table need not be there.
    """
    by_data: dict[Any, dict[int, Section]] = {}
    for one in map(settings_of, records):
        group = by_data.setdefault(str(one.get(_DATA)), {})
        group.update((id(section), section) for section in one.sections)
    found = {key for sections in by_data.values() for key in _differing(sections.values())}
    if not found:
        return []  # without reading the schema, which takes a moment
    order = {key: number for number, key in enumerate(settings())}
    short = set(SHORT_NAMES.values())

    def rank(key: str) -> tuple[bool, bool, int, str]:
        place = order.get(key, order.get(key.rpartition(".")[0], len(order)))
        return role_of(key) != "result", key not in short, place, key

    known = [key for key in found if role_of(key) in ("result", "cost") or key.startswith(OF_OTHER_PROGRAMS)]
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


@functools.lru_cache(maxsize=_SECTIONS_KEPT)
def _section(name: str, text: bytes) -> Section:
    """The fields of a section from its JSON: thousands of runs have few different sections."""
    value = decode(Any, text)
    return {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
