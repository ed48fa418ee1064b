"""The dashboard in a real terminal: however it ends, the terminal is as it was."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
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


class Terminal:
    """A process in a terminal of 80×24 of its own."""

    def __init__(self, command, environment):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment, start_new_session=True
        )
        self.output = b""

    def read_until(self, done, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < deadline, self.output[-2000:]
            self.read()

    def read(self):
        ready, _, _ = select.select([self.master], [], [], 0.1)
        if ready:
            self.output += os.read(self.master, 65536)

    def ended(self):
        return self.process.poll() is not None

    def close(self):
        if not self.ended():
            self.process.kill()
            self.process.wait()
        for end in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(end)


@pytest.fixture
def open_terminal(home):
    opened = []

    def open_one(*command):
        environment = os.environ | {"TERM": "xterm-256color", "RBP_RUNS": str(home / "runs")}
        opened.append(Terminal([sys.executable, *command], environment))
        opened[-1].read_until(lambda: b"Presets" in opened[-1].output)
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


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


def test_ended_by_a_fault_of_its_own(open_terminal, home):
    terminal = open_terminal("-c", CRASH, str(home / "runs"))
    os.write(terminal.master, b"?")
    terminal.read_until(terminal.ended)
    assert terminal.process.returncode == 1
    assert b"broken on purpose" in terminal.output
    assert_clean(terminal)
