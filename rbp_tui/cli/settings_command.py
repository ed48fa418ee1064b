"""Commands that take a preset and settings as words, `epochs=3`, and explain this to users who type `--epochs 3`."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.command_group import Command
from rbp_tui.cli.runs.choice import find
from rbp_tui.cli.trust import warn_of_shared_presets

if TYPE_CHECKING:
    from rbp_engine.run.request import LaunchRequest


def _preset(condition: str = "") -> Any:
    return typer.Argument(
        metavar="PRESET",
        help=f"A preset's name (rbp presets list shows them), or the path of a TOML file{condition}.",
        show_default=False,
        autocompletion=completion.presets,
    )


PresetName = Annotated[str, _preset()]
OptionalPresetName = Annotated[str | None, _preset("; required without --like")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Settings to change: T=6 lr=0.05.",
        show_default=False,
        autocompletion=completion.settings,
    ),
]


Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="RUN",
        help="Instead of PRESET: the settings, own code and resources of that run.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]


class SettingsCommand(Command):
    """A command with KEY=VALUE words. For a setting given as an option raises BadParameter with the right word.

    `INSTEAD` has the options that take the place of an argument, which is required without them.
    """

    INSTEAD: ClassVar[dict[str, str]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = {word.partition("=")[0] for word in args}
        for parameter in self.params:
            if parameter.name in self.INSTEAD:
                parameter.required = not typed & {self.INSTEAD[parameter.name], *ctx.help_option_names}
        if ctx.resilient_parsing:  # the shell only asks for completions
            return super().parse_args(ctx, args)
        own = {option for parameter in self.params for option in parameter.opts}
        dashes = "--" if any(parameter.name == "words" for parameter in self.params) else "-"  # -T=4 may be a query
        for word, following in pairwise([*args, ""]):
            option, _, value = word.partition("=")
            if option == "--note" and option not in own:
                raise typer.BadParameter("--note: write it once the run is there: rbp runs note last TEXT")
            if option.startswith(dashes) and option not in own and (key := _setting(option.lstrip("-"))):
                value = value or (following if following and not following.startswith("-") else "VALUE")
                raise typer.BadParameter(f"{option}: settings are words, without dashes: {key}={value}")
        from rbp_engine.preset.sweep.section import refuse_twice

        rest = super().parse_args(ctx, args)
        given = [ctx.params.get(name) or () for name in ("preset", "overrides", "settings", "words")]
        refuse_twice([word for words in given for word in ([words] if isinstance(words, str) else words)])
        return rest


class SettingsOrLikeCommand(SettingsCommand):
    """A preset is required, unless --like names a run to repeat."""

    INSTEAD: ClassVar[dict[str, str]] = {"preset": "--like"}


def request_for(
    preset: str | None, like: str | None, settings: Sequence[str] | None, runs_dir: Path | None
) -> "tuple[LaunchRequest, tuple[str, ...]]":
    """The request for a preset, or for a run to repeat, and the settings that are typed with it. Raises UserError."""
    from rbp_engine.run.request import LaunchOptions, LaunchRequest

    words = tuple(settings or ())
    if like is None:
        assert preset is not None  # SettingsOrLikeCommand requires it
        warn_of_shared_presets(preset)
        return LaunchRequest(preset, options=LaunchOptions(runs_dir)), words
    if preset is not None and "=" not in preset:
        raise typer.BadParameter(f"--like {like} takes the place of the preset {preset}: leave one of them out")
    return LaunchRequest.like(find(like, runs_dir)), (preset, *words) if preset else words


def _setting(name: str) -> str:
    """The setting of that name as written in a command: `epochs`, or a dotted key; empty if there is none."""
    from rbp_engine.preset import SHORT_NAMES
    from rbp_engine.preset.fields import settings

    if name in SHORT_NAMES:
        return name
    name = name.replace("-", "_")
    lasts = {key: key.rpartition(".")[2] for key in settings() if name}
    known = (key for key, last in lasts.items() if name in (key, last, last.removesuffix("s")))  # --tag x is run.tags=x
    return max(known, default="")  # `name` is the run's
