"""Completion in real shells, with an `rbp` that cannot load torch. What is offered: test_command_tree.py."""

import os
import sys
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset, resolved_toml
from tests.integration.cli import shells

RBP = f"""#!{sys.executable}
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "spikingjelly", "sklearn")))
from rbp_tui.cli import main
main()
"""
RUN = "20261126-020000-digits-rate_m-3f2a"
#: For zsh: `eval` of what Typer makes of the first ran it.
HOSTILE = (r"\$(touch pwned)", r"\`touch pwned`", "'; touch pwned; '", r"\"; touch pwned; \"", "[/]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_run):
    """A folder with `rbp` in it, and runs, of which others have named some."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "rbp").write_text(RBP)
    (folder / "rbp").chmod(0o755)
    run = write_run(folder / "runs", RUN, label="digits")
    run.preset_toml.write_text(resolved_toml(load_preset("digits", ["optim.lr=0.3"]).preset))
    write_run(folder / "runs", "waits", status="queued", method="bptt", label="mnist")
    for number, name in enumerate(HOSTILE):
        write_run(folder / "runs", f"zz{number}", name=name, status="failed", label=name)
    return folder


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request, folder):
    if not shells.is_there(request.param):
        pytest.skip(f"{request.param} is not installed")
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[3])}
    environment["RBP_RUNS"] = str(folder / "runs")
    started = shells.Shell(request.param, folder, environment)
    yield request.param, started
    started.stop()


@pytest.mark.parametrize(
    ("typed", "bash", "zsh"),
    [
        ("rbp train mov", "rbp train moving-digits", None),
        ("rbp train digits T=6 method=ra", "… method=rate_m rate_s", "… method=rate_m method=rate_s"),
        ("rbp watch 3f", "rbp watch 3f2a", None),
        ("rbp train --like 3f2a lr=", "rbp train --like 3f2a lr=0.3", None),
    ],
)
def test_a_line_is_completed_at_the_terminal_of_a_shell(shell, typed, bash, zsh):
    name, here = shell
    expected = bash if name == "bash" else zsh or bash
    assert here.complete(typed) == expected.replace("…", "rbp train digits T=6")


def test_text_of_others_beside_a_run_is_executed_by_no_shell(shell, folder):
    _, here = shell
    words = " ".join(f"zz{number}" for number in range(len(HOSTILE)))
    assert here.complete("rbp watch zz") == f"rbp watch {words}"
    assert not (folder / "pwned").exists()
