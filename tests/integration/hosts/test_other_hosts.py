"""`rbp --host`, through a real sshd on loopback. `make hosts` also trains there."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.run import track
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge

EVERYTHING = "RBP_HOSTS" in os.environ


def wait_until(done: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until, what
        time.sleep(0.05)


class Watching:
    """`rbp --host box watch` with its output as it comes."""

    def __init__(self, box: Any, *words: str) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []
        self.process = subprocess.Popen(
            box.command("--host", "box", "watch", *words), env=box.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.said)):
            threading.Thread(target=_collect, args=(stream, into), daemon=True).start()

    def end(self) -> int:
        return self.process.wait(60)


def _collect(stream: Any, into: list[str]) -> None:
    while line := stream.readline():
        into.append(line)


def test_a_watch_that_is_cut_goes_on_where_it_was_and_repeats_nothing(box: Any) -> None:
    with track({"lr": 0.1}, run_id="cut", runs_dir=box.runs, epochs=4) as run:
        run.log(loss=1.0)
        run.log(epoch=1, val_top1=0.1)
        watching = Watching(box, "last", "--json")
        try:
            wait_until(lambda: any('"validation"' in line for line in watching.lines), "nothing has come")
            assert box.cut()
            wait_until(lambda: any("is lost" in line for line in watching.said), "the cut was not noticed")
            run.log(epoch=2, val_top1=0.2)
            wait_until(lambda: any("box is back" in line for line in watching.said), "it did not come back")
            assert box.cut()
            run.log(epoch=3, val_top1=0.3)
            wait_until(lambda: sum("is back" in line for line in watching.said) == 2, "it did not come back again")
            asked = subprocess.Popen(box.command("--host", "box", "stop", "cut"), env=box.environment)
            wait_until(lambda: run.stop_requested, "the request did not arrive")
        except BaseException:
            watching.process.kill()
            raise
    assert watching.end() == 4 and asked.wait(60) == 0
    shown = [json.loads(line) for line in watching.lines]
    written = [event.seq for event in read_events(RunDirectory(box.runs / "cut").events())]
    assert [event["seq"] for event in shown] == written
    assert not [line for line in watching.said if "Traceback" in line]


def test_words_reach_the_other_rbp_as_they_are_and_its_exit_code_comes_back(box: Any) -> None:
    words = [
        "it's",
        "$HOME `id`",
        '"x" \\',
        "; rm -rf *",
        "two\nlines",
        "~/x",
        "",
        "--host",
        "é",
        "*",
        "!!",
        "{a,b}",
        "#",
    ]
    done = box.rbp("--runs-dir", "/my runs", "--host", "echo", "ls", *words)
    assert done.returncode == 7 and done.stderr == "to stderr\n"
    assert done.stdout.split("|")[:-1] == ["--runs-dir", "/my runs", "ls", *words]


def test_a_host_that_is_down_one_without_rbp_and_one_that_is_an_option(box: Any, tmp_path: Path) -> None:
    down = box.rbp("--host", "dead", "ls")
    assert (down.returncode, down.stdout) == (255, "") and "dead cannot be reached" in down.stderr
    bare = box.rbp("--host", "bare", "ls")
    assert bare.returncode == 127 and "[hosts.bare]" in bare.stderr
    option = box.rbp("--host", f"-oProxyCommand=touch {tmp_path / 'touched'}", "ls")
    assert option.returncode == 2 and not list(tmp_path.iterdir())
    editor = box.rbp("--host", "bare", "presets", "edit", "digits")
    assert editor.returncode == 2 and "ssh -t box 'rbp presets edit digits'" in editor.stderr


@pytest.mark.parametrize(
    "words", [["watch", "last"], *([["ls"], ["watch", "last", "--json"]] if EVERYTHING else [])], ids=" ".join
)
def test_what_another_host_sends_controls_no_terminal(box: Any, hostile_text: str, words: list[str]) -> None:
    box.say_evil(hostile_text)
    done = box.rbp("--host", "evil", *words)
    for text in (done.stdout, done.stderr):
        assert "Traceback" not in text
        plain = text.replace("\x1b[31m", "").replace("\n", "").replace("\t", "")
        assert plain.isprintable() or "\u202f" in plain, [sign for sign in plain if not sign.isprintable()]
    if words[0] == "watch":
        assert done.returncode == 1 and "[/] [link=http://x]" in done.stdout + done.stderr  # as text, not as markup


@pytest.mark.skipif(not EVERYTHING, reason="trains for a while: make hosts does")
def test_a_run_is_launched_there_watched_here_and_goes_on_without_us(box: Any) -> None:
    done = box.rbp("--host", "box", "train", "digits", "epochs=1", "T=1", "--id", "there")
    assert done.returncode == 0 and "epoch 1:" in done.stdout and "completed" in done.stdout
    started = box.rbp("--host", "box", "train", "digits", "epochs=200", "T=1", "--id", "long", "--detach")
    assert (started.returncode, started.stdout) == (0, "long\n")
    watching = Watching(box, "long")
    wait_until(lambda: any("epoch 1:" in line for line in watching.lines), "nothing has come")
    watching.process.send_signal(signal.SIGINT)
    assert watching.end() == 0
    run = RunDirectory(box.runs / "long")
    assert judge(run).status == "running"
    assert box.rbp("--host", "box", "stop", "long").returncode == 0
    assert judge(run).status == "stopped"
    resumed = box.rbp("--host", "box", "resume", "long", "--detach")
    assert resumed.returncode == 0
    assert box.rbp("--host", "box", "kill", "long").returncode == 0
