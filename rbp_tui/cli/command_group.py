"""Commands and groups of them: what their help shows, and which ones may be meant by an unknown one."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rbp_tui.cli.options import JUDGE, KEEP, LOOK, MORE, SET_UP, TRAIN

# Typer has it from click, in newer versions from a copy of its own.
USAGE_ERROR: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

HELP_ALL = "--help-all"
#: The options that mean the same in every command.
EVERYWHERE = frozenset({"trust", "runs_dir", "as_json", "version", "install_completion", "show_completion"})
PANELS = (TRAIN, LOOK, JUDGE, KEEP, SET_UP)
#: Commands that are not for every day.
RARE = frozenset({"cost", "logs", "bench", "paper", "import", "export", "presets", "data", "doctor"})
#: What stands between the name of a command and its summary, and behind that.
AROUND = 4
MOST_OFFERED, CLOSE = 3, 0.7
#: Words that others have for a command.
SYNONYMS = {"remove": "rm", "delete": "rm", "del": "rm"}
#: A negated comparison, and no option: those have one letter or two dashes.
_NEGATED = re.compile(r"-[^\W\d][\w.]+\s*(:|!?=|[<>])|-T\s*(!?=|[<>])")


class Typer(typer.Typer):
    """Commands that are a `Command` unless they are of another class."""

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any) -> Any:
        return super().command(name, cls=cls or Command, **settings)


class Command(TyperCommand):
    """A command; it may be given a query that begins with a minus, as `rbp ls -tag:x`, and its help fits a screen."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[HELP_ALL] = HELP_ALL in args
        # In its place, because `or` separates what is before it from what is behind. A note and tags are no queries.
        if "--" not in args and not (ctx.ignore_unknown_options or any(one.name == "text" for one in self.params)):
            args = [f"not:{word[1:]}" if _NEGATED.match(word) else word for word in args]
        return super().parse_args(ctx, args)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """The first paragraph, or all."""
        text = (self.help or "").strip()
        formatter.write_paragraph()
        formatter.write_text(text if ctx.meta[HELP_ALL] else text.partition("\n\n")[0])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        _write_also(formatter, _write_parameters(self, ctx, formatter))


class CommandGroup(TyperGroup):
    """Commands; `rbp layers` is answered with those of similar names, and `rbp runs ls` with `rbp ls`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[HELP_ALL] = HELP_ALL in args
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The commands by their panels, one a line; those that are not for every day by their names only."""
        rare = [] if ctx.meta[HELP_ALL] else [name for name in self.commands if name in RARE]
        shown: dict[str, Any] = {name: command for name, command in self.commands.items() if name not in rare}
        panels = {name: command.rich_help_panel for name, command in shown.items()}
        rows, before = [], ""
        for name in sorted(panels, key=lambda name: PANELS.index(panels[name]) if panels[name] in PANELS else 0):
            panel = panels[name] if panels[name] in PANELS else ""
            label = f"{'' if panel == before else panel:<7} {name}" if panel else name
            rows.append((label, name))
            before = panel
        room = formatter.width - max((len(label) for label, _ in rows), default=0) - AROUND
        rows = [(label, _summary(self.commands[name], room)) for label, name in rows]
        formatter.write_paragraph()
        formatter.write_dl(rows)
        _write_also(formatter, [*rare, *_write_parameters(self, ctx, formatter)])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except USAGE_ERROR as error:
            if not args[0].startswith("-"):
                error.message = f"No such command '{args[0]}'.{_meant(ctx, args[0])}"
            raise


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> list[str]:
    """Explain arguments and options; returns the names of those that only --help-all explains."""
    help_ = command.get_help_option(ctx)
    known = [one for one in command.get_params(ctx) if one is not help_ and not getattr(one, "hidden", False)]
    rare = [one for one in known if one.name in EVERYWHERE or getattr(one, "rich_help_panel", "") == MORE]
    shown = known if ctx.meta[HELP_ALL] else [one for one in known if one not in rare]
    if rows := [record for one in shown if (record := one.get_help_record(ctx))]:
        formatter.write_dl(rows, col_max=24)
    return [] if ctx.meta[HELP_ALL] else [one.opts[0] for one in rare]


def _write_also(formatter: Any, names: list[str]) -> None:
    formatter.write_text(f"Also: {'  '.join(names)}  ({HELP_ALL} explains them)" if names else "")


def _summary(command: Any, width: int) -> str:
    """The first sentence of its help, or as many whole clauses of it as fit."""
    sentence = command.get_short_help_str(10_000).removesuffix(".")
    clauses = [sentence[: mark.start()] for mark in re.finditer(r"[;:] ", sentence)]
    first = clauses[0] if clauses else sentence
    phrases = [first[: mark.start()] for mark in re.finditer(", ", first)]
    fitting = (text for text in (sentence, *reversed(clauses), *reversed(phrases)) if len(text) <= width)
    return next(fitting, None) or str(command.get_short_help_str(width))


def _meant(ctx: Any, word: str) -> str:
    """A question whether another command was meant: one of this name in any group, else of a similar one."""
    paths, word = list(_paths(ctx.find_root().command, "rbp")), SYNONYMS.get(word, word)
    names = dict.fromkeys(path.rpartition(" ")[2] for path in paths)
    near = [word] if word in names else difflib.get_close_matches(word, names, MOST_OFFERED, CLOSE)
    found = [path for name in near for path in paths if path.rpartition(" ")[2] == name]
    # Of several, first those of the group that was asked.
    found.sort(key=lambda path: path.rpartition(" ")[0] != ctx.command_path)
    return f" Did you mean {' or '.join(map(repr, found[:MOST_OFFERED]))}?" if found else ""


def _paths(group: TyperGroup, path: str) -> Iterator[str]:
    """The words that call each command and group below this one."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{path} {name}"
        if isinstance(command, TyperGroup):
            yield from _paths(command, f"{path} {name}")
