"""Completion as Bash does it: with words split by Bash, in a process that cannot load torch."""

import os
import subprocess
import sys

import pytest

RBP = f"""#!{sys.executable}
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "spikingjelly", "sklearn")))
from rbp_tui.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("rbp train dig", "digits"),
        ("rbp train digits T = 6 method = ra", "rate_m rate_s"),
        ("rbp watch 3f", "3f2a"),
    ],
)
def test_bash_completes_words_as_it_splits_them(tmp_path, write_run, words, offered):
    write_run(tmp_path / "runs", "20261126-020000-digits-rate_m-3f2a", name="[/]")
    rbp = tmp_path / "rbp"
    rbp.write_text(RBP)
    rbp.chmod(0o755)
    script = (
        f'eval "$(_RBP_COMPLETE=source_bash rbp)"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));'
        '_rbp_completion rbp; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


def test_a_shell_that_shows_descriptions_gets_one_for_each_run(tmp_path, write_run):
    write_run(tmp_path / "runs", "20261126-020000-digits-rate_m-3f2a", name="[/]")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "_RBP_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": "rbp watch ",
    }
    done = subprocess.run(
        [sys.executable, "-c", RBP], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "20261126-020000-digits-rate_m-3f2a\tdigits · rate_M · T=4 · seed 1 · [/] · 3f2a · completed" in done.stdout
