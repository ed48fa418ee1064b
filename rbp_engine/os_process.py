"""Which process is meant, and whether it is alive.

A pid means something only under one boot of one machine, and in one pid namespace: each container has its own. Names of
hosts say nothing about it, for they change, and two machines may have the same one.
"""

import contextlib
import functools
import os
import resource
import socket
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
LARGEST_PID = 2**22


class Alive(Enum):
    """Whether a process is alive. What nobody here can know is UNKNOWN, and never to be taken for NO."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()

    def __bool__(self) -> bool:
        raise TypeError("there are three answers: ask with `is`")


@dataclass(frozen=True)
class Process:
    """One process and no other, also after its pid is used again; empty fields are unknown.

    `started` is its start time in clock ticks since the boot, which setting the clock does not change. `boot` and
    `namespace` are the ids of the boot and of the pid namespace. `host` is the name of its machine, to be shown.
    """

    pid: int | None = None
    started: int | None = None
    boot: str = ""
    namespace: str = ""
    host: str = ""

    @property
    def is_here(self) -> bool:
        """Whether this process can see it: same boot, same pid namespace."""
        place = (self.boot, self.namespace)
        return all(place) and place == _place(os.getpid())

    @property
    def where(self) -> str:
        """Its machine in words, as `on box`."""
        known = f"on {self.host or 'an unknown host'}"
        elsewhere = not self.is_here and self.host == socket.gethostname()
        return f"{known}, before a restart or in another container" if elsewhere else known

    def __str__(self) -> str:
        return f"process {self.pid or '?'} {self.where}"


def here() -> Process:
    """This process."""
    return of(os.getpid())


def of(pid: int) -> Process:
    """The process that has this pid now; without a start time, and never alive, if there is none."""
    boot, namespace = _place(os.getpid())
    try:
        started = _started(pid)
    except OSError:
        started = None
    return Process(pid, started, boot, namespace, socket.gethostname())


def is_alive(process: Process) -> Alive:
    """Whether a process is alive; the record may be from a file with any contents.

    UNKNOWN for a process of another boot or pid namespace, and for one that this user may not see.
    """
    if not process.is_here:
        return Alive.UNKNOWN
    pid = process.pid
    if type(pid) is not int or not 0 < pid <= LARGEST_PID:
        return Alive.NO
    try:
        started = _started(pid)
    except OSError:
        return Alive.UNKNOWN if _exists(pid) else Alive.NO
    return Alive.YES if started is not None and started == process.started else Alive.NO


def _started(pid: int) -> int | None:
    """The start time of a process, None for a zombie. Raises OSError if there is none, or it may not be seen."""
    # The second field, the command in parentheses, may contain anything.
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _exists(pid: int) -> bool:
    """Whether there is a process with this pid, also where `/proc` hides those of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@functools.lru_cache(maxsize=1)
def _place(me: int) -> tuple[str, str]:
    """The ids of the boot and of the pid namespace of `me`, the pid of this process; empty if they are unknown."""
    itself = Path("/proc/self")
    try:
        # Without a /proc of its own, a new namespace sees the pids of another.
        seen = str(itself.readlink()) == str(me)
        return BOOT.read_text().strip(), str((itself / "ns/pid").readlink()) if seen else ""
    except OSError:
        return "", ""


def resident() -> tuple[int, int]:
    """The bytes of memory that this process has now, and the most that it has had.

    `getrusage` may count the peak of the process that started this one. It stands in where /proc does not say it, as on
    other systems than Linux and in some sandboxes.
    """
    most, known = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, dict[str, int]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(("VmRSS:", "VmHWM:")):
                known[line[:5]] = int(line.split()[1]) * 1024
    return known.get("VmRSS", most), known.get("VmHWM", most)
