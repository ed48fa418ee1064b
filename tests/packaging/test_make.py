"""What the targets of the Makefile that everybody types do."""

import subprocess
from pathlib import Path

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
