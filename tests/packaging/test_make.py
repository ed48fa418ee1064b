"""What the targets of the Makefile that everybody types do."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import rbp_engine

CHECKOUT = Path(rbp_engine.__file__).parents[1]
CHECKERS = ("ruff", "mypy", "lint-imports")


def commands(target, venv):
    """The programs of the environment that a target calls, in a checkout that has none yet."""
    # An environment of its own, because the tests may have been started by make.
    words, clean = ["make", "--dry-run", target, f"VENV={venv}"], {"PATH": "/usr/bin:/bin"}
    lines = subprocess.run(words, cwd=CHECKOUT, env=clean, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line.split()[0].removeprefix(f"{venv}/bin/") for line in lines.splitlines() if f"{venv}/bin/" in line]


def test_tests_do_not_wait_for_the_checkers_which_have_a_target_of_their_own(tmp_path):
    for target in ("test", "check"):
        assert not set(CHECKERS) & set(commands(target, tmp_path / "venv"))
    assert set(CHECKERS) < set(commands("lint", tmp_path / "venv"))


def test_the_second_command_of_the_readme_is_what_ci_calls():
    first, second = re.findall(r"^ {4}(make \w+)$", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    assert first == "make demo" and f"as_user {second}\n" in (CHECKOUT / ".ci" / "run").read_text()


def torch_asked_for(folder, *words, card=False, here=False, served=True, system="Linux"):
    """What `make` asks pip for before all else on such a machine, and what it says. Its programs are scripts that note
    how they are called.
    """
    python = f'[ "$1" = -c ] && exit {0 if here else 1}; echo "$@" >> {folder}/calls; exit {0 if served else 1}'
    programs = {
        "uname": f"echo {system}",
        "nvidia-smi": f"exit {0 if card else 9}",
        "venv/bin/python": python,
    }
    (folder / "venv/bin").mkdir(parents=True)
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["make", f"{folder}/venv/.torch", f"VENV={folder}/venv", *words],
        cwd=CHECKOUT, env={"PATH": f"{folder}{os.pathsep}/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    calls = folder / "calls"
    return (calls.read_text().split() if calls.exists() else []), done


def test_a_machine_without_a_card_gets_the_torch_for_cpus_and_no_long_wait_for_it(tmp_path):
    asked, done = torch_asked_for(tmp_path)
    assert asked[-1] == "https://download.pytorch.org/whl/cpu" and {"torch", "torchvision"} < set(asked)
    assert int(asked[asked.index("--timeout") + 1]) * (1 + int(asked[asked.index("--retries") + 1])) <= 60
    assert done.returncode == 0 and "TORCH=" in done.stdout


@pytest.mark.parametrize("machine", [{"card": True}, {"here": True}, {"system": "Darwin"}], ids=str)
def test_a_card_or_a_torch_that_is_there_or_another_system_changes_what_pip_takes_in_nothing(tmp_path, machine):
    assert torch_asked_for(tmp_path, **machine)[0] == []


def test_an_index_that_cannot_be_reached_is_said_and_pip_takes_what_it_finds(tmp_path):
    asked, done = torch_asked_for(tmp_path, served=False)
    assert asked and done.returncode == 0 and "whl/cpu does not serve torch here" in done.stdout


@pytest.mark.parametrize("machine", [{"card": True}, {"card": False}, {"served": False}], ids=str)
def test_a_build_that_was_asked_for_by_name_is_taken_or_make_fails(tmp_path, machine):
    asked, done = torch_asked_for(tmp_path, "TORCH=cu126", **machine)
    assert asked[-1] == "https://download.pytorch.org/whl/cu126"
    assert (done.returncode == 0) == machine.get("served", True)
