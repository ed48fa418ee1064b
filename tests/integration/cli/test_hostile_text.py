"""Commands over runs whose every text is hostile to a terminal: what they print controls nothing, and all end."""

import json
import re

import pytest

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

COMMANDS = (
    "ls",
    "ls --json",
    "runs show bad",
    "runs show bad --json",
    "runs show bad-done",
    "watch bad",
    "watch bad --json",
    "watch bad-done",
    "logs bad",
    "runs csv bad",
    "runs compare bad bad-done",
    "runs compare bad bad-done --json",
    "report --include-unfinished",
    "report --include-unfinished --json",
    "report --include-unfinished --format markdown",
    "report --include-unfinished --format latex",
    "report --include-unfinished --format csv",
    "report --missing",
    "runs tag bad",
    "runs tag bad --json",
    "runs note bad",
    "runs rm bad",
    "stop bad",
    "kill bad",
    "resume bad",
    "resume bad --json",
    "queue",
    "figure curves bad -o bad.svg",
    "train --like bad",
    "train digits --resume-or-start --id bad",
)


@pytest.fixture
def rbp_there(rbp_here, write_texts, hostile_text):
    write_texts(rbp_here.runs, "bad", hostile_text)
    write_texts(rbp_here.runs, "bad-done", hostile_text, "completed")
    write_texts(rbp_here.runs, "bad-odd", hostile_text, hostile_text)
    return rbp_here


@pytest.mark.parametrize("command", COMMANDS)
def test_no_text_of_a_run_controls_the_terminal_or_ends_a_command(rbp_there, command):
    done = rbp_there(*command.split(), code=None)
    output = done.stdout + done.stderr
    assert output
    if command == "logs bad":
        assert "\x1b[1;31mred\x1b[0m" in output
        output = COLOUR.sub("", output).replace("\t", "")
    assert CONTROL.findall(output) == []
    assert "💣" not in output
    if "--json" in command:
        for line in done.stdout.splitlines() if "watch" in command else [done.stdout]:
            assert not line or json.loads(line)
