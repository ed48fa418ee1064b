"""The pages of the site, for `make docs`: those of docs, README and its neighbours in project/, and reference pages.

python docs/reference.py FOLDER   write them into a folder, for a builder that reads mkdocs.yml

Reference pages are made from what they describe: the fields of presets, the commands, and the functions and classes
that the pages name to scripts. They are not kept, so they cannot be out of date.
"""

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from typer.main import get_command

from rbp_engine.preset.fields import ABOUT, FieldInfo, fields
from rbp_engine.preset.sweep.check import sweep_fields
from rbp_tui.cli import app
from rbp_tui.text.setting_words import rule

DOCS = Path(__file__).parent
ROOT = DOCS.parent
#: The folder of README, CONTRIBUTING and the like in the site, whose own front page is docs/index.md.
PROJECT = "project"
#: What docs/index.md says of the commands and settings, and the page that the site has of them.
IN_INDEX = {"commands: `rbp COMMAND --help`": "commands.md", "settings: `rbp presets schema`": "settings.md"}
#: What scripts call without importing it by its name, and what the functions return.
NAMED = (
    "rbp_engine.load",
    "rbp_engine.loaded.Loaded",
    "rbp_engine.runs",
    "rbp_engine.run_list.Runs",
    "rbp_engine.run_list.Run",
    "rbp_engine.run.track",
    "rbp_engine.run.tracking.track.TrackedRun",
    "rbp_engine.preset.load_preset",
    "rbp_engine.methods.Method",
    "rbp_engine.methods.StepOutput",
)
WIDTH = 88


def settings_page() -> str:
    """Every field of a preset under a heading of its own, so that a search of the site leads to it."""
    parts = ["# Settings", "What a preset leaves out has its default. On a command line: `KEY=VALUE`."]
    section = ""
    for info in (*fields(), *sweep_fields()):
        head = info.key.partition(".")[0]
        if (head := "About the preset" if head in ABOUT else head) != section:
            section = head
            parts.append(f"## {section}")
        parts += [f"### `{info.key}`", plain(info.text), default_and_rule(info)]
    return "\n\n".join(parts) + "\n"


def default_and_rule(info: FieldInfo) -> str:
    return f"Default `{json.dumps(info.default, ensure_ascii=False)}` · {plain(rule(info))}"


def commands_page() -> str:
    """Every command, with what its `--help-all` explains."""
    parts = ["# Commands"]
    for path, command in commands_below(get_command(app), "rbp"):
        context = command.make_context(path, [], resilient_parsing=True)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        parts += [f"## {path}", f"    {usage}", plain(command.help or "")]
        shown = [one for one in command.get_params(context) if not getattr(one, "hidden", False) and one.name != "help"]
        rows = [record for one in shown if (record := one.get_help_record(context))]
        if rows:
            table = [f"| <code>{escape(name).replace('|', '&#124;')}</code> | {plain(text)} |" for name, text in rows]
            parts.append("\n".join(["| | |", "|---|---|", *table]))
        if command.epilog:
            parts.append(plain(command.epilog))
    return "\n\n".join(parts) + "\n"


def commands_below(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and, of a group, those in it, by the words that call them."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            yield from commands_below(one, f"{path} {name}")


def functions_page() -> str:
    """The signatures and docstrings of what scripts use."""
    parts = ["# Functions and classes", "All that the pages on [scripts](library.md), networks, neurons and data call."]
    for name in public_names():
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        parts += [f"## `{name}`", signature_of(last, thing), docstring(thing)]
        for member in members(thing) if inspect.isclass(thing) else ():
            found = inspect.getattr_static(thing, member)
            heading, called = f"### `{last}.{member}`", getattr(found, "__func__", found)
            parts += [heading, signature_of(member, called), docstring(found)]
    return "\n\n".join(filter(None, parts)) + "\n"


def public_names() -> list[str]:
    """What scripts import from the engine in the pages, after what they call without that."""
    found = set()
    for page in DOCS.glob("*.md"):
        imports = re.findall(r"^from (rbp_engine[\w.]*) import (.+)$", page.read_text("utf-8"), re.MULTILINE)
        for module, names in imports:
            found |= {f"{module}.{name.strip()}" for name in names.split(",")}
    return [*NAMED, *sorted(found - set(NAMED))]


def members(kind: type) -> list[str]:
    """The documented methods and properties that a class defines itself."""
    own = {name: one for name, one in vars(kind).items() if name[0] != "_" and hasattr(one, "__get__")}
    return [name for name, one in own.items() if inspect.getdoc(one) and not inspect.isclass(one)]


def signature_of(name: str, thing: Any) -> str:
    """How it is called, in a block of code; nothing for a property, and for a class without its own `__init__`."""
    if not callable(thing) or (inspect.isclass(thing) and not inspect.isfunction(thing.__init__)):
        return ""
    text = f"{name}{inspect.signature(thing)}".replace("(self, ", "(").replace("(self)", "()")
    text = re.sub(r"<function \S+ at 0x\w+>", "…", text)  # a default that is a function
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text)
    text = re.sub(r"(: |-> )(?:'([^']*)'|\"([^\"]*)\")", r"\1\2\3", text)  # annotations that are strings
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text).replace("PosixPath", "Path").removesuffix(" -> None")
    if len(text) > WIDTH:
        parameters, _, returned = text.removeprefix(f"{name}(").rpartition(")")
        lines = re.sub(r", (?=\*{0,2}\w+: |\*, |/)", ",\n    ", parameters)
        text = f"{name}(\n    {lines},\n){returned}"
    return f"```python\n{text}\n```"


def docstring(thing: Any) -> str:
    """A docstring as Markdown: it is, but for lists of arguments."""
    text = re.sub(r"<(?=[a-zA-Z/])", "&lt;", inspect.getdoc(thing) or "")
    return re.sub(r"^(?:Arguments|Attributes):\n((?: {4}.*\n?)+)", as_list, text, flags=re.MULTILINE)


def as_list(found: re.Match[str]) -> str:
    return "\n" + re.sub(r"^ {4}(?=\w)(.+?): ", r"* `\1`: ", found[1], flags=re.MULTILINE)


def plain(text: str) -> str:
    """Text that has no Markdown, as Markdown."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text).replace("<", "&lt;")


def write_site(folder: Path) -> None:
    """All pages with their pictures and style, and with the links between them as they are in the site."""
    (folder / PROJECT).mkdir(parents=True, exist_ok=True)
    for file in [file for kind in ("md", "svg", "css") for file in DOCS.rglob(f"*.{kind}")]:
        copy = folder / file.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text("utf-8").replace("](../", f"]({PROJECT}/"), "utf-8")
    for file in ROOT.glob("*.md"):
        (folder / PROJECT / file.name).write_text(file.read_text("utf-8").replace("](docs/", "](../"), "utf-8")
    for name, page in (("settings", settings_page), ("commands", commands_page), ("functions", functions_page)):
        (folder / f"{name}.md").write_text(page(), "utf-8")
    index = folder / "index.md"
    text = index.read_text("utf-8")
    for words, name in IN_INDEX.items():
        assert words in text, f"docs/index.md no longer says {words}"
        text = text.replace(words, f"[{words.partition(':')[0]}]({name})")
    index.write_text(text, "utf-8")


def main(words: Sequence[str]) -> None:
    assert len(words) == 1, __doc__
    write_site(Path(words[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
