"""`rbp --host`, through a real sshd on loopback. `make hosts` also trains there."""

import os
import subprocess
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge
from rbp_engine.settings.machine import Host
from rbp_tui.hosts.ssh import remote_command
from tests.integration.conftest import COMMAND
from tests.terminal import Terminal

EVERYTHING = "RBP_HOSTS" in os.environ


@given(st.lists(st.text(max_size=12).filter(lambda word: "\0" not in word), max_size=4))
@settings(max_examples=20)
def test_a_shell_gives_the_other_rbp_the_words_as_they_are(words):
    words = [word.encode(errors="replace").decode() for word in words]
    host = Host("box", "box", rbp="printf", runs="")
    line = remote_command(host, ["%s|", *words, "end"])
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}|" for word in [*words, "end"])
    assert remote_command(Host("b", "b", rbp="~/my venv/rbp", runs="~/r"), ["ls", "~/x"]) == (
        "~/'my venv/rbp' --runs-dir ~/r ls '~/x'"
    )


def test_words_reach_the_other_rbp_as_they_are_and_its_exit_code_comes_back(box):
    words = [
        "it's", "$HOME `id`", '"x" \\', "; rm -rf *", "two\nlines", "~/x", "", "--host", "é", "*", "!!", "{a,b}", "#",
    ]  # fmt: skip
    done = box.rbp("--runs-dir", "/my runs", "--host", "echo", "ls", *words)
    # sshd and the user's shell may say something before it.
    assert done.returncode == 7 and done.stderr.endswith("to stderr\n")
    assert done.stdout.split("|")[:-1] == ["--runs-dir", "/my runs", "ls", *words]


def test_the_other_rbp_has_a_terminal_if_this_one_has_and_else_none(rbp_here, fake_ssh):
    words = fake_ssh()
    rbp_here.environment["PATH"] = os.environ["PATH"]
    rbp_here("--host", "box", "ls")
    with closing(Terminal([*COMMAND, "--host", "box", "ls"], rbp_here.environment, rbp_here.folder)) as terminal:
        terminal.read_until(terminal.ended)
    assert words.read_text().splitlines() == ["-T", "--", "box", "rbp ls", "-t", "--", "box", "rbp ls"]


def test_a_host_that_is_down_one_without_rbp_and_one_that_is_an_option(box, tmp_path):
    down = box.rbp("--host", "dead", "ls")
    assert (down.returncode, down.stdout) == (255, "") and "Connection refused" in down.stderr
    bare = box.rbp("--host", "bare", "ls")
    assert bare.returncode == 127 and "[hosts.bare]" in bare.stderr
    option = box.rbp("--host", f"-oProxyCommand=touch {tmp_path / 'touched'}", "ls")
    assert option.returncode == 2 and not list(tmp_path.iterdir())


@pytest.mark.skipif(not EVERYTHING, reason="trains for a while: make hosts does")
def test_a_run_is_launched_there_and_goes_on_without_us(box):
    done = box.rbp("--host", "box", "train", "digits", "epochs=1", "T=1", "--id", "there")
    assert done.returncode == 0 and "epoch 1:" in done.stdout and "completed" in done.stdout
    started = box.rbp("--host", "box", "train", "digits", "epochs=200", "T=1", "--id", "long", "--detach")
    assert (started.returncode, started.stdout) == (0, "long\n")
    assert judge(RunDirectory(box.runs / "long")).status == "running"
    assert box.rbp("--host", "box", "stop", "long").returncode == 0
    assert judge(RunDirectory(box.runs / "long")).status == "stopped"
