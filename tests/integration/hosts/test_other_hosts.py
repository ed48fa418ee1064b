"""`rbp --host`, through a real sshd on loopback. `make hosts` also trains there."""

import os

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge

EVERYTHING = "RBP_HOSTS" in os.environ


def test_words_reach_the_other_rbp_as_they_are_and_its_exit_code_comes_back(box):
    words = [
        "it's", "$HOME `id`", '"x" \\', "; rm -rf *", "two\nlines", "~/x", "", "--host", "é", "*", "!!", "{a,b}", "#",
    ]  # fmt: skip
    done = box.rbp("--runs-dir", "/my runs", "--host", "echo", "ls", *words)
    assert done.returncode == 7 and done.stderr == "to stderr\n"
    assert done.stdout.split("|")[:-1] == ["--runs-dir", "/my runs", "ls", *words]


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
