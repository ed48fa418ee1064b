"""Shell completion of presets, their settings, runs and data sets.

Names that need quotes are not offered. Files that cannot be read add nothing: there is no room for a message.
"""

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from rbp_engine.data.catalog import CATALOG
from rbp_engine.errors import UserError
from rbp_engine.run.files.layout import short_id
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.output import cell
from rbp_tui.text.run_text import title

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.run.store.store import RunRecord

NEEDS_NO_QUOTES = re.compile(r"[\w./+@%=:,-]+")
# What a shell may evaluate, even in double quotes, or take for the end of them.
EVALUATED = re.compile(r"[\\$`\"']")


def presets(context: typer.Context, incomplete: str) -> list[str]:
    """Presets by name; after `--like RUN`, which takes the place of the preset, settings."""
    if context.params.get("like"):
        return settings(context, incomplete)
    from rbp_engine.preset.find import all_presets

    return _fitting(sorted(all_presets()), incomplete)


def preset_then_settings(context: typer.Context, incomplete: str) -> list[str]:
    """A preset, then its settings."""
    return (settings if context.params.get("words") else presets)(context, incomplete)


def settings(context: typer.Context, incomplete: str) -> list[str]:
    """Settings for the preset named before them: names, then values, also a list of them."""
    from rbp_engine.preset import SHORT_NAMES, fields
    from rbp_tui.text.setting_words import completions

    given = context.params
    before = [str(word) for word in given.get("overrides") or given.get("settings") or given.get("words") or ()]
    named = str(given.get("preset") or given.get("source") or "".join(before[:1]))
    if given.get("like"):
        preset, before = _preset_of_run(context), [named, *before]
    else:
        preset = _preset(named)
    name, incomplete = _apart(before, incomplete, [*SHORT_NAMES, *(info.key for info in fields())])
    typed = f"{name}{incomplete}"
    offered = _fitting(completions(typed, preset), typed)
    if len(offered) == 1 and offered[0].endswith("="):
        # A shell adds a space after a single offer, but the value must follow without one.
        offered = _fitting(completions(offered[0], preset), offered[0]) or offered
    return [word.removeprefix(name) for word in offered]


def data_sets(incomplete: str) -> list[str]:
    """Data sets that come with rbp."""
    return _fitting(CATALOG, incomplete)


def runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs with their descriptions, and `last`."""
    return _references(context, incomplete, lambda record: True, last=True)


def live_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be stopped."""
    return _references(context, incomplete, lambda record: record.verdict.live)


def resumable_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that can be resumed."""
    return _references(context, incomplete, lambda record: record.verdict.resumable)


def queued_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that wait in the queue."""
    return _references(context, incomplete, lambda record: record.verdict.status == "queued")


def _references(
    context: typer.Context, incomplete: str, fits: "Callable[[RunRecord], bool]", *, last: bool = False
) -> list[tuple[str, str]]:
    """The runs that fit, each by the first of id, last four characters and name that begins with the typed text.

    With `last`, also that word, for the newest.
    """
    from rich.markup import escape

    from rbp_engine.run.store.store import list_runs

    fitting: list[RunRecord] = []
    with suppress(UserError):
        fitting += filter(fits, list_runs(runs_directory(context.params.get("runs_dir"))))
    found = [("last", "your newest run")] if last and fitting and "last".startswith(incomplete) else []
    for record in fitting:
        about = f"{title(record.summary)} · {record.verdict.shown_status}" if record.readable else record.verdict.status
        # zsh evaluates descriptions as a part of its own command, and Typer's quoting leaves a way out: `\$(…)`.
        about = escape(EVALUATED.sub("", cell(about)))  # Typer reads it as markup
        words = (record.run.id, short_id(record.run.id), record.summary.name)
        found += [(word, about) for word in _fitting(words, incomplete)[:1]]
    return found


def _fitting(words: Iterable[str], incomplete: str) -> list[str]:
    """The words that begin with the typed text and need no quotes, without duplicates."""
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete) and NEEDS_NO_QUOTES.fullmatch(word)]


def _apart(before: list[str], incomplete: str, names: Collection[str]) -> tuple[str, str]:
    """The name and sign whose value is being typed, if bash split them off as words of their own; and what is typed.

    Bash does so by default at "=". Typer passes an empty word for "=" with nothing behind it, which is then known by
    the name.
    """
    *_, first, second = ["", "", *before]
    if second == "=":
        return f"{first}=", incomplete
    if not incomplete and first != "=" and second in names:
        return f"{second}=", ""
    return "", incomplete


def _preset_of_run(context: typer.Context) -> "Preset | None":
    """The settings of the run that `--like` names."""
    from rbp_engine.preset import read_resolved
    from rbp_engine.run.store.store import find_run

    with suppress(UserError):
        run = find_run(runs_directory(context.params.get("runs_dir")), str(context.params["like"]))
        return read_resolved(run.preset_toml)
    return None


def _preset(name: str) -> "Preset | None":
    from rbp_engine.preset import PresetError, load_preset

    with suppress(PresetError):
        return load_preset(name).preset
    return None
