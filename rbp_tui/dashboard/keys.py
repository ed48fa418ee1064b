"""The user's own keys, from `dashboard.toml` in the configuration directory.

    [keys]
    stop = "S"
    screen.runs = "f2"

The names are those of the table of verbs and of the other keys; docs/dashboard.md lists them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode

from rbp_engine.settings.documents import read_document
from rbp_engine.settings.locations import configuration_directory
from rbp_engine.settings.problems import Problem, describe_problems
from rbp_engine.settings.spelling import describe_value, did_you_mean


def key_name(app: App[Any], binding: Binding) -> str:
    """The key of a binding as a word, where the footer shows a sign for Enter."""
    shown = app.get_key_display(binding)
    return "Enter" if shown == "⏎" else shown


def key_meaning(binding: Binding) -> str:
    """What a key does: the word of the footer, and what help adds to that."""
    return f"{binding.description}: {binding.tooltip}" if binding.id and binding.tooltip else binding.description


def keys_file() -> Path:
    """The file of the user's keys, which may not exist."""
    return configuration_directory() / "dashboard.toml"


def read_keys() -> tuple[dict[str, str], str]:
    """The user's keys by the name of the action, and a message about errors in the file, empty without any.

    Keys with errors are ignored: a broken file must not prevent the start.
    """
    path = keys_file()
    if not os.path.lexists(path):
        return {}, ""
    document = read_document(path)
    if isinstance(document, Problem):
        return {}, describe_problems(str(path), [document])
    known = names_of_keys()
    keys = {}
    problems = [
        Problem(section, "unknown section; the keys stand under [keys]", document.lines.get((section,)))
        for section in sorted(document.values.keys() - {"keys"})
    ]
    for place, value in _flat(document.values.get("keys", {}), ("keys",)):
        name = ".".join(place[1:])
        line = document.lines.get(place)
        if name not in known:
            problems.append(Problem(name, f"no such action.{did_you_mean(name, known)}", line))
        elif not isinstance(value, str) or not value.strip():
            problems.append(
                Problem(name, f'expected a key as a string, "S" or "ctrl+x", got {describe_value(value)}', line)
            )
        else:
            keys[name] = value
    return keys, describe_problems(str(path), problems) if problems else ""


def names_of_keys() -> set[str]:
    """The names of all actions of the dashboard's own screens and widgets that have a key."""
    names = set()
    waiting: list[type[Any]] = [DOMNode]
    while waiting:
        node = waiting.pop()
        waiting += node.__subclasses__()
        if node.__module__.startswith("rbp_tui."):
            bindings = node.__dict__.get("BINDINGS", ())
            names |= {binding.id for binding in bindings if isinstance(binding, Binding) and binding.id}
    return names


def _flat(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The values of nested tables: TOML reads `runs.stop = …` as a table `runs`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, (*place, key))
    else:
        yield place, value
