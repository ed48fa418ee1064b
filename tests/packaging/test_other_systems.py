"""Where rbp cannot run, it says so in one sentence."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_another_system_than_linux_is_refused_in_one_sentence(system):
    start = f"import sys; sys.platform = {system!r}; import rbp_tui.cli"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"rbp runs on Linux, and this is {system}: ") and done.stderr.count("\n") == 1
