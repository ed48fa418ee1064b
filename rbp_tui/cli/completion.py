"""Shell completion of presets, their settings, runs, queries, data sets and devices.

Names that need quotes are not offered. Files that cannot be read add nothing: there is no room for a message.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rbp_engine.errors import UserError

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.run.store.store import RunRecord

NEEDS_NO_QUOTES = re.compile(r"[\w./+@%=:,-]+")
# What a shell may evaluate, even in double quotes, or take for the end of them.
EVALUATED = re.compile(r"[\\$`\"']")
# A term of a query: a field, a sign and the beginning of a value.
_SIGN = re.compile(r"([^:=]*)([:=]?)(.*)", re.DOTALL)


def presets(context: typer.Context, incomplete: str) -> list[str]:
    """Presets by name; after the first letter also TOML files of the current directory, which may not be presets.

    After `--like RUN`, which takes the place of the preset, settings.
    """
    if context.params.get("like"):
        return settings(context, incomplete)
    from rbp_engine.preset.search import preset_files, preset_names

    files = [path.name for path in preset_files(Path())] if incomplete else []
    return _fitting([*preset_names(), *files], incomplete)


def settings(context: typer.Context, incomplete: str) -> list[str]:
    """Settings for the preset named before them: names, then values."""
    from rbp_tui.text.setting_words import completions

    before = [str(word) for word in context.params.get("overrides") or context.params.get("words") or ()]
    named = str(context.params.get("preset") or context.params.get("source") or "".join(before[:1]))
    if context.params.get("like"):
        preset, before = _preset_of_run(context), [named, *before]
    else:
        preset = _preset(named)
    name, incomplete = _apart(before, incomplete, _names_of_settings())
    offered = _fitting(completions(f"{name}{incomplete}", preset), f"{name}{incomplete}")
    if len(offered) == 1 and offered[0].endswith("="):
        # A shell adds a space after a single offer, but the value must follow without one.
        offered = _fitting(completions(offered[0], preset), offered[0]) or offered
    return [word.removeprefix(name) for word in offered]


def varied_settings(context: typer.Context, incomplete: str) -> list[str]:
    """Settings, each with a list of values: names, then values."""
    from rbp_tui.text.setting_words import list_completions

    before = [str(word) for word in context.params.get("settings") or context.params.get("words") or ()]
    name, incomplete = _apart(before, incomplete, _names_of_settings())
    offered = _fitting(list_completions(f"{name}{incomplete}"), f"{name}{incomplete}")
    if len(offered) == 1 and offered[0].endswith("="):
        # A shell adds a space after a single offer, but the values must follow without one.
        offered = _fitting(list_completions(offered[0]), offered[0]) or offered
    return [word.removeprefix(name) for word in offered]


def preset_then_settings(context: typer.Context, incomplete: str) -> list[str]:
    """A preset, then settings with a list of values."""
    return varied_settings(context, incomplete) if context.params.get("words") else presets(context, incomplete)


def setting_names(incomplete: str) -> list[str]:
    """Fields of presets, their sections, and short names."""
    from rbp_engine.preset import SHORT_NAMES, fields

    keys = [info.key for info in fields()]
    return _fitting([*SHORT_NAMES, *(key.partition(".")[0] for key in keys), "sweep", *keys], incomplete)


def columns(incomplete: str) -> list[str]:
    """A list of fields of presets."""
    return _in_list(_names_of_settings(), incomplete)


def data_sets(incomplete: str) -> list[str]:
    """Data sets that come with rbp."""
    from rbp_engine.data.catalog import CATALOG

    return _fitting(CATALOG, incomplete)


def devices(incomplete: str) -> list[str]:
    """Devices to compute on, and the cards of this machine."""
    return _fitting(["auto", "cpu", "cuda", *(f"cuda:{number}" for number in _cards())], incomplete)


def gpus(incomplete: str) -> list[str]:
    """Devices to wait for: any, none, or a list of cards."""
    words = [] if "," in incomplete else ["auto", "none"]
    return [*_fitting(words, incomplete), *_in_list(_cards(), incomplete)]


def searches(incomplete: str) -> list[str]:
    """Searches of `rbp sweep`."""
    from rbp_engine.preset.sweep.section import SEARCHES

    return _fitting(SEARCHES, incomplete)


def pruners(incomplete: str) -> list[str]:
    """How a search stops trials early."""
    from rbp_engine.preset.sweep.section import PRUNERS

    return _fitting(PRUNERS, incomplete)


def baselines(incomplete: str) -> list[str]:
    """A list of what a benchmark compares with."""
    from rbp_engine.bench.results.comparison import ALL, BASELINES

    return _in_list(BASELINES if "," in incomplete else (*BASELINES, ALL), incomplete)


def run_fields(incomplete: str) -> list[str]:
    """Fields of runs to sort by."""
    from rbp_engine.run.store.query_fields import field_names, score_names

    return _fitting([*field_names(), *(score_names() if "." in incomplete else ()), *_preset_keys()], incomplete)


def query(context: typer.Context, incomplete: str) -> list[str]:
    """The last term of a query: a field, then the values that it has in runs."""
    head, space, term = incomplete.rpartition(" ")
    if not all(NEEDS_NO_QUOTES.fullmatch(word) for word in head.split()):
        return []
    return [f"{head}{space}{word}" for word in _terms(context, term)]


def one_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs with their descriptions, and `last`."""
    return _references(context, incomplete, lambda record: True, last=True)


def runs_or_query(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs with their descriptions, and `last`; once something is typed, also terms of a query."""
    before = [str(word) for word in context.params.get("runs") or ()]
    name, typed = _apart(before, incomplete, [])
    if name:
        return [(word.removeprefix(name), "query") for word in _terms(context, f"{name}{typed}")]
    return [*one_run(context, typed), *((word, "query") for word in (_terms(context, typed) if typed else ()))]


def trained_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that have a checkpoint."""

    def has_checkpoint(record: "RunRecord") -> bool:
        return any(record.run.checkpoints.glob("*/manifest.json"))

    return _references(context, incomplete, has_checkpoint, last=True)


def live_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be stopped."""
    return _references(context, incomplete, lambda record: record.verdict.live)


def resumable_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be resumed; behind one, also the settings that may change then."""
    from rbp_engine.preset import SHORT_NAMES
    from rbp_engine.run.longer import CHANGEABLE

    short = {key: name for name, key in SHORT_NAMES.items()} if context.params.get("words") else {}
    changeable = _fitting([f"{short.get(key, key)}=" for key in CHANGEABLE if short], incomplete)
    runs = _references(context, incomplete, lambda record: record.verdict.resumable)
    return [*runs, *((word, "setting") for word in changeable)]


def queued_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that wait in the queue."""
    return _references(context, incomplete, lambda record: record.verdict.status == "queued")


def removed_runs(context: typer.Context, incomplete: str) -> list[str]:
    """Runs in the trash."""
    from rbp_engine.run.store.trash import list_trash
    from rbp_engine.settings.machine import runs_directory

    with suppress(UserError):
        return _fitting(
            [entry.run.id for entry in list_trash(runs_directory(context.params.get("runs_dir")))], incomplete
        )
    return []


def hosts(incomplete: str) -> list[str]:
    """The hosts of machine.toml."""
    from rbp_engine.settings.machine import read_machine

    with suppress(UserError):
        return _fitting(read_machine().hosts, incomplete)
    return []


def _references(
    context: typer.Context, incomplete: str, fits: "Callable[[RunRecord], bool]", *, last: bool = False
) -> list[tuple[str, str]]:
    """The runs that fit, each by the first of id, last four characters and name that begins with the typed text.

    With `last`, also that word, for the newest.
    """
    from rich.markup import escape

    from rbp_tui.cli.output import cell
    from rbp_tui.text.run_text import title

    fitting = list(filter(fits, _records(context)))
    found = [("last", "your newest run")] if last and fitting and "last".startswith(incomplete) else []
    for record in fitting:
        about = f"{title(record.summary)} · {record.verdict.shown_status}" if record.readable else record.verdict.status
        # zsh evaluates descriptions as a part of its own command, and Typer's quoting leaves a way out: `\$(…)`.
        about = escape(EVALUATED.sub("", cell(about)))  # Typer reads it as markup
        found += [(word, about) for word in _fitting(_words_for(record), incomplete)[:1]]
    return found


def _words_for(record: "RunRecord") -> Iterator[str]:
    from rbp_tui.text.run_text import short

    yield record.run.id
    yield short(record.run.id)
    yield record.summary.name


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    """The words that begin with the typed text and need no quotes, without duplicates."""
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete) and NEEDS_NO_QUOTES.fullmatch(word)]


def _terms(context: typer.Context, term: str) -> list[str]:
    """What a term of a query may become: a field with its sign, ":" for text and "=" for numbers; then its values."""
    from rbp_engine.run.store.query_fields import field_names, find_field, score_names

    name, sign, _ = _SIGN.match(term).groups()  # type: ignore[union-attr]  # it matches any text
    if not sign:
        signs = {"text": ":", "number": "=", "any": "="}
        fields = [
            find_field(known) for known in [*field_names(), *([*score_names(), *_preset_keys()] if "." in term else ())]
        ]
        named = _fitting([f"{field.name}{signs[field.kind]}" for field in fields if field.kind in signs], term)
        return (_terms(context, named[0]) or named) if len(named) == 1 else named
    try:
        field = find_field(name)
    except ValueError:
        return []
    found = [field.get(record) for record in _records(context)]
    values = sorted({str(value) for each in found for value in (each if isinstance(each, (list, tuple)) else [each])})
    return _fitting([f"{name}{sign}{value}" for value in values if value and value != "None"], term)


def _records(context: typer.Context) -> "list[RunRecord]":
    from rbp_engine.run.store.store import list_runs
    from rbp_engine.settings.machine import runs_directory

    with suppress(UserError):
        return list_runs(runs_directory(context.params.get("runs_dir")))
    return []


def _in_list(words: Iterable[str], incomplete: str) -> list[str]:
    """The list "a,b,c" with its last word completed; each word once."""
    head, comma, _ = incomplete.rpartition(",")
    given = head.split(",")
    return _fitting([f"{head}{comma}{word}" for word in words if word not in given], incomplete)


def _cards() -> list[str]:
    """The numbers of the cards of this machine."""
    from rbp_engine.run.queue.devices import read_cards

    with suppress(UserError):
        return [str(card.index) for card in read_cards()]
    return []


def _preset_keys() -> list[str]:
    from rbp_engine.preset import fields

    return [info.key for info in fields() if "." in info.key and "[]" not in info.key]


def _names_of_settings() -> list[str]:
    from rbp_engine.preset import SHORT_NAMES

    return [*SHORT_NAMES, *_preset_keys()]


def _apart(before: list[str], incomplete: str, names: Collection[str]) -> tuple[str, str]:
    """The name and sign whose value is being typed, if bash split them off as words of their own; and what is typed.

    Bash does so by default at "=" and ":". Typer passes an empty word for "=" with nothing behind it, which is then
    known by the name; behind ":" it offers nothing before the first letter.
    """
    *_, first, second = ["", "", *before]
    if second in ("=", ":"):
        return f"{first}{second}", incomplete
    if not incomplete and first != "=" and second in names:
        return f"{second}=", ""
    return "", incomplete


def _preset_of_run(context: typer.Context) -> "Preset | None":
    """The settings of the run that `--like` names."""
    from rbp_engine.preset import read_resolved
    from rbp_engine.run.store.store import find_run
    from rbp_engine.settings.machine import runs_directory

    with suppress(UserError):
        run = find_run(runs_directory(context.params.get("runs_dir")), str(context.params["like"]))
        return read_resolved(run.preset_toml)
    return None


def _preset(name: str) -> "Preset | None":
    from rbp_engine.preset import PresetError, load_preset

    with suppress(PresetError):
        return load_preset(name).preset
    return None
