"""Commands of another machine's rbp, through the user's own `ssh`: with its configuration, keys and shared connections.

The dashboard asks without a terminal on either side: what comes back passes the filters like the text of any file.
"""

import os
import shlex
import subprocess
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
STDERR_KEPT = 2**16

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


def begin(host: Host, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """A command of the host's rbp that prints and ends, without a terminal, so that nothing can ask.

    Raises UserError if there is no ssh.
    """
    options = [word for option in _OPTIONS for word in ("-o", option)]
    command = ["ssh", "-T", *options, "--", host.ssh, remote_command(host, words)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True)
    except OSError as error:
        raise UserError(f"cannot run ssh, which reaches {host.name}: {error.strerror}") from error


def said(stderr: IO[bytes]) -> str:
    """What ssh, or the command, has said before its end, unfiltered, as far as a pipe holds it.

    It is not waited for: a shared connection, which goes on, may hold the pipe open. Whoever says more waits for room,
    and counts as silent.
    """
    os.set_blocking(stderr.fileno(), False)
    with suppress(BlockingIOError):
        return os.read(stderr.fileno(), STDERR_KEPT).decode(errors="replace").strip()
    return ""


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
