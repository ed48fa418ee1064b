"""Commands that take settings of a preset as words, `epochs=3`, and say so to who writes `--epochs 3`."""

from typing import Any

import typer
from typer.core import TyperCommand


class SettingsCommand(TyperCommand):
    """A command with KEY=VALUE words. Raises BadParameter with the word that is meant for a setting given as option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {option for parameter in self.params for option in parameter.opts}
        for word, following in zip(args, [*args[1:], ""], strict=True):
            option, _, value = word.partition("=")
            if option.startswith("--") and option not in own and (key := _setting(option.removeprefix("--"))):
                value = value or (following if following and not following.startswith("-") else "VALUE")
                raise typer.BadParameter(f"{option}: settings are words, without dashes: {key}={value}")
        return super().parse_args(ctx, args)


def _setting(name: str) -> str:
    """The setting of that name as it is written in a command: `epochs`, or a dotted key; empty if there is none."""
    from rbp_engine.preset import SHORT_NAMES, fields

    if name in SHORT_NAMES:
        return name
    name = name.replace("-", "_")
    return next((info.key for info in fields() if name and name in (info.key, info.key.rpartition(".")[2])), "")
