"""Devices that several users of one machine share: each sees which of them the runs of others hold.

A hold is a Unix socket with a name in the kernel's abstract namespace, which nobody connects to. It lies on no disk, so
there is no file to plant, to link or to clean up; the kernel removes it with the last process that has it open, so that
a hold ends with the run, however it ends. The names are `rbp-device/<key>/<user>/<random>`. Anybody may make such a
socket: all that is learnt from a name is that somebody wants the device to be left alone.

Processes see each other's holds if they share a network namespace: containers usually have one each.
"""

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

from rbp_engine.owners import name_of
from rbp_engine.settings.machine import MachineError, read_machine
from rbp_engine.untrusted_files import described, open_untrusted

PREFIX = "rbp-device"
SOCKETS = Path("/proc/net/unix")
#: The descriptors that a starter hands on to the worker, in its environment.
INHERITED = "RBP_HOLDS"
_NAME = re.compile(rb"@rbp-device/([A-Za-z0-9_-]{1,64})/([0-9]{1,10})/[0-9a-f]{16}$")


class Holds:
    """The devices that this process holds against other users, as long as it or a process that inherits one lives."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def take(self, keys: Iterable[str]) -> str:
        """Hold these devices; if another user holds one, hold none of the new ones and return who has it, else ""."""
        if not _shares():
            return ""
        new = {key: _bound(key) for key in keys if key not in self._held}
        # Of two users at once, each sees the other's: both give way, and try again.
        if others := held_by_others(new):
            for one in new.values():
                one.close()
            return next(iter(others.values()))
        self._held |= new
        return ""

    def descriptors(self, keys: Iterable[str]) -> tuple[int, ...]:
        """Those of the held devices, for a process that is to hold them, too."""
        return tuple(self._held[key].fileno() for key in keys if key in self._held)

    def keep_only(self, keys: Collection[str]) -> None:
        """Give back all devices but these. What another process inherited, it still holds."""
        for key in self._held.keys() - keys:
            self._held.pop(key).close()


def held_by_others(keys: Iterable[str]) -> dict[str, str]:
    """Those of the devices that another user holds, and who that is; all of them if nobody can tell."""
    if not _shares():
        return {}
    wanted = {_in_name(key).encode(): key for key in keys}
    if not wanted:
        return {}
    me = os.geteuid()
    found = {}
    try:
        with open_untrusted(SOCKETS) as sockets:  # line by line: others may have opened a million
            for line in sockets:
                if (name := _NAME.search(line)) and name[1] in wanted and int(name[2]) != me:
                    found[wanted[name[1]]] = name_of(int(name[2]))
    except OSError as error:
        return dict.fromkeys(wanted.values(), f"perhaps somebody: {described(error)}")
    return found


def inherited() -> tuple[int, ...]:
    """The descriptors that the dispatcher has handed to this process; it is asked once."""
    return tuple(map(int, os.environ.pop(INHERITED, "").split()))


def _in_name(key: str) -> str:
    """The key of a device as names of sockets, which are short, have it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key) else hashlib.sha256(key.encode()).hexdigest()


def _shares() -> bool:
    try:
        return read_machine().share_devices
    except MachineError:  # whoever starts a run gets the message
        return True


def _bound(key: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(f"\0{PREFIX}/{_in_name(key)}/{os.geteuid()}/{secrets.token_hex(8)}")
    return made
