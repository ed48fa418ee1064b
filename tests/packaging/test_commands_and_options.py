"""How many commands and options there are, and how long their help is: what a person has to learn."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.run.request import LaunchRequest
from rbp_tui.cli import app
from tests.commands import COMMANDS

LONGEST_HELP, LONGER_ONE = 24, {("train",): 32, ("sweep",): 32}
MOST_COMMANDS, MOST_OPTIONS = 43, 156
ROOT = Path(__file__).parents[2]


def options_of(command):
    own = [parameter for parameter in command.params if parameter.param_type_name == "option" and not parameter.hidden]
    return [option.name for option in own if not option.name.endswith("_completion")]


def test_there_are_no_more_commands_and_options_than_this():
    does_something = [
        words for words, command in COMMANDS.items() if command.params or not hasattr(command, "commands")
    ]
    assert len(does_something) - 1 <= MOST_COMMANDS
    assert sum(len(options_of(command)) for command in COMMANDS.values()) <= MOST_OPTIONS


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_fits_a_screen(words):
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*words, "--help"]).output
    assert len(shown.rstrip("\n").split("\n")) <= LONGER_ONE.get(words, LONGEST_HELP)
    assert max(map(len, shown.split("\n"))) <= 80


# In code, and in presets anywhere: `rbp`, a command, and of a group of commands one of them.
IN_CODE = re.compile(r"(?:^ {4}|`|· +)rbp ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
ANYWHERE = re.compile(r"\brbp ([a-z]+)(?: ([a-z]+))?")
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "presets").glob("*.toml"),
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_commands_that_a_text_names_exist(path):
    only_groups = {words for words, command in COMMANDS.items() if getattr(command, "no_args_is_help", False)}
    pattern = ANYWHERE if path.suffix == ".toml" else IN_CODE
    named = {(one, two) if (one,) in only_groups and two else (one,) for one, two in pattern.findall(path.read_text())}
    assert not named - COMMANDS.keys()


README = (ROOT / "README.md").read_text()
FIRST_HOUR = README[README.index("## A first hour") : README.index("## The dashboard")]


@pytest.mark.parametrize("line", re.findall(r"^ {4}rbp ?(.*?)(?: {2,}.*)?$", FIRST_HOUR, re.MULTILINE))
def test_what_is_typed_in_the_first_hour_is_understood(line):
    words = shlex.split(line)
    path = max((path for path in COMMANDS if path == tuple(words[: len(path)])), key=len)
    command, typed = COMMANDS[path], words[len(path) :]
    if not path:  # its options act when they are parsed
        assert set(typed) <= {option for parameter in command.params for option in parameter.opts}
        return
    given = command.make_context("rbp", typed).params
    named = [given.get("preset"), *(given.get("overrides") or given.get("settings") or ())]
    preset = next((word for word in named if word and "=" not in word), "digits")
    assert plan_sweep(SweepRequest(LaunchRequest(preset, tuple(word for word in named if word and "=" in word)))).points
