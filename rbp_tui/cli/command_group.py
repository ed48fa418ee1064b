"""A group of commands: how their help is wrapped, and which ones may be meant by an unknown one."""

import difflib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# Typer has it from click, in newer versions from a copy of its own.
USAGE_ERROR: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

MOST_OFFERED, CLOSE = 3, 0.7
#: A negated comparison, and no option: those have one letter or two dashes.
_NEGATED = re.compile(r"-[^\W\d][\w.]+\s*(:|!?=|[<>])|-T\s*(!?=|[<>])")


class QueryCommand(TyperCommand):
    """A command that takes a query, which may begin with a minus: `rbp ls '-tag:x'`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" not in args:
            negated = [word for word in args if _NEGATED.match(word)]
            args = [word for word in args if word not in negated] + (["--", *negated] if negated else [])
        return super().parse_args(ctx, args)


class CommandGroup(TyperGroup):
    """Commands; `rbp show` is answered with `rbp runs show`, and `rbp runs ls` with `rbp ls`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; its help is wrapped to the terminal."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:
            # Typer does so in the first paragraph, and keeps the line breaks of the source in the others.
            command.help = re.sub(r"(?<!\n)\n(?![\n *-])", " ", inspect.cleandoc(command.help))
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except USAGE_ERROR as error:
            if not args[0].startswith("-"):
                error.message = f"No such command '{args[0]}'.{_meant(ctx, args[0])}"
            raise


def _meant(ctx: Any, word: str) -> str:
    """A question whether another command was meant: one of this name in any group, else of a similar one."""
    root = ctx.find_root().command
    paths = list(_paths(root, "rbp"))
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
