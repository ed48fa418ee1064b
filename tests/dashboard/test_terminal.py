"""The dashboard in a real terminal: however it ends, the terminal is as it was."""

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


def test_left_by_its_key(open_terminal):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    os.write(terminal.master, b"q")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 0
    assert b"Traceback" not in terminal.output
    assert_clean(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_a_signal(open_terminal, number):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    terminal.process.send_signal(number)
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 128 + number
    assert b"Traceback" not in terminal.output
    assert_clean(terminal)


def test_a_terminal_that_vanishes_ends_it_too(open_terminal):
    terminal = open_terminal("-c", "from rbp_tui.cli import main; main()")
    os.close(terminal.master)
    assert terminal.process.wait(timeout=60) != 0


def test_ended_by_a_fault_of_its_own(open_terminal, home):
    terminal = open_terminal("-c", CRASH, str(home / "runs"))
    os.write(terminal.master, b"?")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 1
    assert b"broken on purpose" in terminal.output
    assert_clean(terminal)
