"""Shell completion of presets, their settings, runs and data sets.

Names that need quotes are not offered. Files that cannot be read add nothing: there is no room for a message.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rbp_engine.errors import UserError

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.run.store.store import RunRecord

NEEDS_NO_QUOTES = re.compile(r"[\w./+@%=-]+")


def presets(incomplete: str) -> list[str]:
    """Presets by name; after the first letter also TOML files of the current directory, which may not be presets."""
    from rbp_engine.preset.search import preset_files, preset_names

    files = [path.name for path in preset_files(Path())] if incomplete else []
    return _fitting([*preset_names(), *files], incomplete)


def settings(context: typer.Context, incomplete: str) -> list[str]:
    """Settings for the preset named before them: names, then values."""
    from rbp_tui.text.setting_words import completions

    before = [str(word) for word in context.params.get("overrides") or context.params.get("words") or ()]
    preset = _preset(str(context.params.get("preset") or context.params.get("source") or "".join(before[:1])))
    name = _name_apart(before, incomplete)
    offered = _fitting(completions(f"{name}{incomplete}", preset), f"{name}{incomplete}")
    if len(offered) == 1 and offered[0].endswith("="):
        # A shell adds a space after a single offer, but the value must follow without one.
        offered = _fitting(completions(offered[0], preset), offered[0]) or offered
    return [word.removeprefix(name) for word in offered]


def preset_then_settings(context: typer.Context, incomplete: str) -> list[str]:
    """A preset, then its settings."""
    return settings(context, incomplete) if context.params.get("words") else presets(incomplete)


def setting_names(incomplete: str) -> list[str]:
    """Fields of presets, their sections, and short names."""
    from rbp_engine.preset import SHORT_NAMES, fields

    keys = [info.key for info in fields()]
    return _fitting([*SHORT_NAMES, *(key.partition(".")[0] for key in keys), *keys], incomplete)


def data_sets(incomplete: str) -> list[str]:
    """Data sets that come with rbp."""
    from rbp_engine.data.catalog import CATALOG

    return _fitting(CATALOG, incomplete)


def runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs with their descriptions."""
    return _references(context, incomplete, lambda record: True)


def live_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be stopped or killed."""
    return _references(context, incomplete, lambda record: record.verdict.live)


def resumable_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be resumed."""
    return _references(context, incomplete, lambda record: record.verdict.resumable)


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


def _references(context: typer.Context, incomplete: str, fits: "Callable[[RunRecord], bool]") -> list[tuple[str, str]]:
    """The runs that fit, each by the first of id, last four characters and name that begins with the typed text."""
    from rich.markup import escape

    from rbp_engine.run.store.store import list_runs
    from rbp_engine.settings.machine import runs_directory
    from rbp_tui.cli.output import cell
    from rbp_tui.text.run_text import title

    found: list[tuple[str, str]] = []
    with suppress(UserError):
        records = list_runs(runs_directory(context.params.get("runs_dir")))
        for record in filter(fits, records):
            about = f"{title(record.summary)} · {record.verdict.status}" if record.readable else record.verdict.status
            about = escape(cell(about))  # Typer reads a description as markup
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


def _name_apart(before: list[str], incomplete: str) -> str:
    """The setting whose value is being typed, with its "=", if bash split off name and sign as words of their own.

    Bash does so by default, and Typer passes an empty word for a sign with nothing behind it.
    """
    from rbp_engine.preset import SHORT_NAMES, fields

    *_, first, second = ["", "", *before]
    if second == "=":
        return f"{first}="
    if not incomplete and first != "=" and second in {*SHORT_NAMES, *(info.key for info in fields())}:
        return f"{second}="
    return ""


def _preset(name: str) -> "Preset | None":
    from rbp_engine.preset import PresetError, load_preset

    with suppress(PresetError):
        return load_preset(name).preset
    return None
