"""Processes in terminals of their own."""

import contextlib
import os
import pty
import select
import subprocess
import termios
import time


class Terminal:
    """A process in its own terminal of 80×24."""

    def __init__(self, command, environment, folder=None):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.before = termios.tcgetattr(self.slave)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        self.process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **streams)
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
