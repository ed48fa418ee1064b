"""Commands of another machine's rbp, through the user's own `ssh`: with its configuration, keys and shared connections.

The dashboard asks without a terminal on either side: what comes back passes the filters like the text of any file.
"""

import shlex
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from rbp_engine.errors import UserError
from rbp_engine.settings.machine import Host

#: What ssh itself exits with if it does not reach the host, or loses it; and a shell that does not find a command.
UNREACHABLE, NOT_FOUND = 255, 127
CONNECT_S = 10
#: A connection without a word for ALIVE_S × ALIVE_COUNT is lost.
ALIVE_S, ALIVE_COUNT = 5, 3
STDERR_KEPT = 2**14

# What a user may have configured for a terminal, or for work of their own, and would fail or hang here.
_OPTIONS = (
    "RequestTTY=no",
    "RemoteCommand=none",
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    f"ConnectTimeout={CONNECT_S}",
    f"ServerAliveInterval={ALIVE_S}",
    f"ServerAliveCountMax={ALIVE_COUNT}",
)


def remote_command(host: Host, words: Sequence[str], runs: str = "") -> str:
    """What the shell of the host is given to run `rbp WORDS`; `runs` is a runs directory there, instead of the host's.

    Raises UserError for a word that no shell can be given.
    """
    place = runs or host.runs
    typed = [host.rbp, *(["--runs-dir", place] if place else []), *words]
    if any("\0" in word for word in typed):
        raise UserError("no word of a command has a NUL character")
    # A home directory there is for that shell to find; nothing else of a word means anything to it.
    paths = (host.rbp, place)
    return " ".join(
        f"~/{shlex.quote(word[2:])}" if word.startswith("~/") and word in paths else shlex.quote(word) for word in typed
    )


class Connection:
    """A command of the host's rbp that prints and ends; its stderr is read on the side, and the last of it kept."""

    def __init__(self, host: Host, words: Sequence[str]) -> None:
        """Start it without a terminal, so that nothing can ask. Raises UserError if there is no ssh."""
        options = [word for option in _OPTIONS for word in ("-o", option)]
        command = ["ssh", "-T", *options, "--", host.ssh, remote_command(host, words)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"cannot run ssh, which reaches {host.name}: {error.strerror}") from error
        assert self.process.stdout is not None and self.process.stderr is not None
        self.stdout: IO[bytes] = self.process.stdout
        self._said = b""
        self._reader = threading.Thread(target=self._read_stderr, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def said(self) -> str:
        """The last of what ssh, or the command, has said on stderr, unfiltered."""
        self._reader.join(1.0)
        return self._said.decode(errors="replace").strip()

    def close(self, patience_s: float = 0.0) -> int:
        """End ssh if it does not end by itself within `patience_s`; its exit code."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            code = self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.stdout.close()
        return code

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while chunk := stream.read1(2**12):  # type: ignore[attr-defined]  # it is buffered
                self._said = (self._said + chunk)[-STDERR_KEPT:]


def problem(host: Host, code: int, said: str) -> str:
    """Why a command on the host has come to nothing, from its exit code and what was said."""
    words = said.splitlines()[-1].removeprefix("error ") if said else ""
    last = f": {words}" if words else ""
    if code == UNREACHABLE:
        return f"{host.name} cannot be reached{last}"
    if code == NOT_FOUND:
        there = f"say where it is with rbp = … under [hosts.{host.name}] of machine.toml"
        return f"{host.name} does not find {host.rbp}: {there}"
    return f"{host.name}{last}" if last else f"{host.name}: rbp ended there with {code}"
