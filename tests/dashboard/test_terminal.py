"""The dashboard in a real terminal: however it ends, it restores the terminal."""

import os
import signal
import termios
import time

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


PANIC = """
import sys
from pathlib import Path

from rbp_tui.dashboard.app import Dashboard, main


Dashboard.action_help = lambda self: self.panic("the input cannot be read")
sys.exit(main(Path(sys.argv[1])))
"""
FLOOD = """
import sys
from pathlib import Path

from rbp_tui.dashboard.app import Dashboard, main


def draw(self):
    Path(sys.argv[2]).touch()
    for _ in range(100):
        self._driver.write("x" * 10_000)


Dashboard.action_help = draw
sys.exit(main(Path(sys.argv[1])))
"""


def assert_clean(terminal):
    terminal.read()
    assert termios.tcgetattr(terminal.slave) == terminal.before
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?1000h", b"\x1b[?1000l")):
        assert terminal.output.rfind(off) > terminal.output.rfind(on), (on, off)


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGHUP])
def test_the_leave_key_and_a_signal_restore_the_terminal(open_terminal, number):
    terminal = open_terminal()
    if number:
        terminal.process.send_signal(number)
    else:
        os.write(terminal.master, b"q")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == (128 + number if number else 0)
    assert b"Traceback" not in terminal.output
    assert_clean(terminal)


def test_a_terminal_that_vanishes_ends_the_dashboard(open_terminal):
    terminal = open_terminal()
    os.close(terminal.master)
    assert terminal.process.wait(timeout=60) != 0


def test_a_terminal_that_vanishes_while_much_waits_to_be_written_ends_the_dashboard(open_terminal, home):
    terminal = open_terminal(str(home / "runs"), str(home / "begun"), code=FLOOD)
    os.write(terminal.master, b"?")
    while not (home / "begun").exists():  # nothing is read any more, so that writing waits
        assert not terminal.ended()
        time.sleep(0.05)
    os.close(terminal.master)
    assert terminal.process.wait(timeout=60) != 0


def test_a_paste_that_is_not_utf8_is_taken_with_signs_in_place_of_its_bytes(open_terminal):
    terminal = open_terminal()
    os.write(terminal.master, b"/")
    terminal.read_until(lambda: b"ilter: name" in terminal.output)
    os.write(terminal.master, b"\x1b[200~caf\xe9 au lait\x1b[201~")
    terminal.read_until(lambda: "caf\ufffd au lait".encode() in terminal.output or terminal.ended())
    assert not terminal.ended()


@pytest.mark.parametrize(("script", "said"), [(CRASH, b"broken on purpose"), (PANIC, b"the input cannot be read")])
def test_an_internal_error_restores_the_terminal_and_ends_with_an_exit_code(open_terminal, home, script, said):
    terminal = open_terminal(str(home / "runs"), code=script)
    os.write(terminal.master, b"?")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 1
    assert said in terminal.output
    assert_clean(terminal)
