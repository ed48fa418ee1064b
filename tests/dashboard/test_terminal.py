"""The dashboard in a real terminal: however it ends, it restores the terminal."""

import os
import signal
import termios

import pytest

CRASH = """
import sys
from pathlib import Path

from rbp_tui.dashboard.app import Dashboard


def broken(self):
    raise RuntimeError("broken on purpose")


Dashboard.action_help = broken
app = Dashboard(Path(sys.argv[1]))
app.run()
sys.exit(app.return_code)
"""


def assert_clean(terminal):
    terminal.read()
    assert termios.tcgetattr(terminal.slave) == terminal.before
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?1000h", b"\x1b[?1000l")):
        assert terminal.output.rfind(off) > terminal.output.rfind(on), (on, off)


def test_the_leave_key_restores_the_terminal(open_terminal):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    os.write(terminal.master, b"q")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 0
    assert b"Traceback" not in terminal.output
    assert_clean(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(open_terminal, number):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    terminal.process.send_signal(number)
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 128 + number
    assert b"Traceback" not in terminal.output
    assert_clean(terminal)


def test_a_terminal_that_vanishes_ends_the_dashboard(open_terminal):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    os.close(terminal.master)
    assert terminal.process.wait(timeout=60) != 0


def test_an_internal_error_restores_the_terminal(open_terminal, home):
    terminal = open_terminal("-c", CRASH, str(home / "runs"))
    os.write(terminal.master, b"?")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 1
    assert b"broken on purpose" in terminal.output
    assert_clean(terminal)
