"""Every command of rbp and every group of commands, by the words that call it."""

from typer.main import get_command

from rbp_tui.cli import app


def commands_below(group, *words):
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands_below(command, *words, name)


COMMANDS = dict(commands_below(get_command(app)))
