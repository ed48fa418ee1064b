"""`rbp --host HOST COMMAND`: the rbp of another machine does the work, in this terminal, through the user's own ssh."""

import subprocess
import sys
from collections.abc import Sequence

from rbp_engine.errors import UserError
from rbp_engine.settings.machine import find_host
from rbp_tui.cli.output import fail
from rbp_tui.hosts.ssh import NOT_FOUND, problem, remote_command


def run_there(name: str, words: Sequence[str], runs: str = "") -> int:
    """Run a command of the rbp of another host, as `ssh -t` does; the exit code is its own, 255 if ssh fails."""
    host = find_host(name)
    terminal = "-t" if sys.stdin.isatty() and sys.stdout.isatty() else "-T"
    try:
        code = subprocess.call(["ssh", terminal, "--", host.ssh, remote_command(host, words, runs)])
    except OSError as error:
        raise UserError(f"cannot run ssh, which reaches {host.name}: {error.strerror}") from error
    return fail(problem(host, code, ""), code) if code == NOT_FOUND else code
