"""Every command without arguments and with a wrong one."""

import signal

import pytest
from typer.core import TyperGroup

from tests.commands import COMMANDS

LEAVES = {path: command for path, command in COMMANDS.items() if not isinstance(command, TyperGroup)}
# They measure, or read whole data sets, which takes minutes, and rm needs RUN or --trash. They have their own tests.
WORK_WITHOUT_ARGUMENTS = {("bench",), ("doctor",), ("data", "check"), ("runs", "rm")}
# Wrong words for commands that accept nearly every word.
WRONG = {("ls",): "T>", ("report",): "T>", ("presets", "new"): "no such name!"}


def message(done):
    """The error message in one line; there must be exactly one."""
    assert "Traceback" not in done.stderr
    if done.stderr.startswith("Usage: "):
        return " ".join(done.stderr.partition("Error: ")[2].split())
    said = done.stderr or done.stdout  # `rbp presets check` prints the problems of presets on stdout
    assert done.stderr.count("error ") == (done.stderr != "")
    return " ".join(said.removeprefix("error ").split())


@pytest.fixture(autouse=True)
def sigterm_as_it_was():
    """Commands that measure change the handler of SIGTERM, and here they run in the process of the tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in WORK_WITHOUT_ARGUMENTS], ids=" ".join)
def test_without_arguments_a_command_works_or_names_what_is_missing(rbp_here, path):
    needed = next((parameter for parameter in LEAVES[path].params if parameter.required), None)
    done = rbp_here(*path, code=0 if needed is None else 2)
    if needed is not None:
        assert message(done).startswith("Missing ")
        assert needed.help in message(done)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_wrong_argument_and_a_wrong_option_are_named(rbp_here, path):
    word = WRONG.get(path, "no-such-thing")
    said = message(rbp_here(*path, word, code=2))
    if path in LEAVES:
        assert word in said or said.startswith("Missing ")
    else:
        assert said.startswith(f"No such command '{word}'")
    assert "--no-such-option" in message(rbp_here(*path, "--no-such-option", code=2))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("runs", "show"), "'rbp show' or 'rbp presets show'"),
        (("presets", "shw"), "'rbp presets show' or 'rbp show'"),
        (("csv",), "'rbp runs csv'"),
        (("runs", "ls"), "'rbp ls'"),
        (("trian",), "'rbp train'"),
        (("runs", "remove"), "'rbp runs rm'"),
    ],
)
def test_an_unknown_command_is_answered_with_those_of_other_groups(rbp_here, words, meant):
    assert message(rbp_here(*words, code=2)).endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in LEAVES], ids=" ".join)
def test_no_summary_of_a_command_is_cut(rbp_here, path):
    _, *lines = rbp_here(*path, "--help-all").stdout.splitlines()
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize(
    "words",
    ["train digits --pretrained {}", "train digits model.pretrained={}", "train digits loss.distill=./{}", "import {}",
     "try {}.py:Net", "bench digits -o {}.json", "figure curves -o {}/x.pdf"],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_an_error_in_words(rbp_here, words):
    done = rbp_here(*words.format("x" * 300).split(), code=2)
    assert "File name too long" in done.stderr or "there is no folder" in done.stderr


@pytest.mark.parametrize("words", ["train digits", "import x.csv"])
def test_in_a_folder_that_is_gone_a_command_that_needs_it_says_so(rbp, tmp_path, words):
    rbp.folder = tmp_path / "gone"
    rbp.folder.mkdir()
    there = "import os; os.rmdir(os.getcwd()); from rbp_tui.cli import main; main()"
    done = rbp.python("-c", there, *words.split())
    assert (done.returncode, done.stderr) == (2, "error the current folder is gone: go to another\n")
