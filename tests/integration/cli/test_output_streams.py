"""Where commands print: a full disk, closed streams, and a width that nobody has."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("presets", "list"), id="a table"),
        pytest.param(("presets", "schema", "--json"), id="JSON, more than a buffer"),
        pytest.param(("--version",), id="what is printed at the end"),
        pytest.param(("ls", "--help"), id="help"),
    ],
)
def test_stdout_on_a_full_disk_is_one_sentence_and_an_exit_code(rbp, words):
    with Path("/dev/full").open("w") as full:
        done = rbp.python("-m", "rbp_tui", *words, stdout=full)
    message = "error cannot write to stdout: No space left on device; make room, or send it elsewhere"
    assert (done.returncode, done.stderr.splitlines()) == (2, [message])


def test_a_width_of_millions_is_bounded(rbp):
    rbp.environment["COLUMNS"] = "99999999"
    assert max(map(len, rbp("presets", "list").stdout.splitlines())) <= 1000


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [
        ("<&-", ("runs", "restore", "nothing"), 2),
        ("<&-", (), 0),
        ("<&- >&- 2>&-", ("ls",), 0),
        (">&-", ("presets", "list"), 0),
        ("2>&-", ("show", "nothing"), 2),
    ],
)
def test_streams_that_are_closed_are_no_error(rbp, closed, words, code):
    """As job files and `nohup` leave them."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m rbp_tui "$@" {closed}', sys.executable, *words],
        cwd=rbp.folder, env=rbp.environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stderr
