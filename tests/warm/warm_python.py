"""Python processes without the seconds that torch takes to import: forks of this one, which has imported everything.

It is asked through a socket: for a command of Python with its environment, working directory and standard streams, and
then for its exit status. A fork shows its own command line and environment in /proc, by which the processes of a run
are found, and what it starts itself is a fork, too.
"""

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

# Besides all of the engine and of the commands.
MODULES = (
    "encodings.idna",
    "encodings.utf_8_sig",
    "platformdirs",
    "pydantic.type_adapter",
    "rich._emoji_codes",
    "sklearn.datasets",
    "tomlkit",
    "torch.distributed.run",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
)
STANDARD_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
OPTIONS = ("-P", "-u")
MOST_FILES = 4096
# Words for a long run that is only there while a test looks: it sleeps, and compiles nothing.
IDLE = (f"arch={Path(__file__).with_name('idle.py')}:net", "train.kernel=eager")
# Room for the longest command line and environment that a fork shows.
ROOM = "x" * 60_000


def can_run(words: Any) -> bool:
    """Whether a fork can stand in for this command: code, or a module of the engine or of torch."""
    if not isinstance(words, Sequence) or isinstance(words, str) or words[0] != sys.executable:
        return False
    options = [word for word in words[1:4] if word not in OPTIONS]
    return options[0] == "-c" or (options[0] == "-m" and options[1].startswith(("rbp_engine.", "torch.")))


def fork(
    words: Sequence[str], environment: Mapping[str, str], directory: str, new_session: bool, streams: Sequence[int]
) -> int:
    """The process of that command, once it can be seen as such."""
    seen, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        become(words, environment, directory, new_session, streams)
    os.close(told)
    os.read(seen, 1)
    os.close(seen)
    return pid


def become(
    words: Sequence[str], environment: Mapping[str, str], directory: str, new_session: bool, streams: Sequence[int]
) -> NoReturn:
    """Be the process of that command from here on, in a fork."""
    code = 70
    try:
        gc.freeze()  # what belongs to the process before must not be tidied up here, nor its temporary folders
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        signal.set_wakeup_fd(-1)
        for number in STANDARD_SIGNALS:
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
        if new_session:
            os.setsid()
        for number, stream in enumerate([os.dup(stream) for stream in streams]):
            os.dup2(stream, number)
        if new_session and os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        _show("env", [f"{name}={value}" for name, value in environment.items()])
        _show("arg", words)
        os.closerange(3, MOST_FILES)  # the last of them tells `fork` that this is the process of the command now
        code = _run(words)
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
        for file in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                file.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(words: Sequence[str]) -> int:
    """Run the code or module as the main one; its exit code."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    by_line = unbuffered or os.isatty(1)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if by_line else -1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    rest = [word for word in words[1:4] if word not in OPTIONS] + list(words[4:])
    sys.argv = ["-c" if rest[0] == "-c" else rest[1], *rest[2:]]
    try:
        if rest[0] == "-c":
            exec(compile(rest[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    except KeyboardInterrupt:
        traceback.print_exc()
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _show(what: str, texts: Sequence[str]) -> None:
    """Let /proc/PID/environ or cmdline say this, where what this process was started with stood."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    first = {"arg": 45, "env": 47}[what]
    start, end = int(fields[first]), int(fields[first + 1])
    block = b"".join(os.fsencode(text) + b"\0" for text in texts)
    if len(block) > end - start:
        raise ValueError(f"{len(block)} bytes do not fit into the {end - start} of {what}")
    ctypes.memmove(start, block.ljust(end - start, b"\0"), end - start)


class ForkedPopen(subprocess.Popen):  # type: ignore[type-arg]
    """`subprocess.Popen` in a fork of this process, which has imported everything."""

    def _execute_child(self, *arguments: Any) -> None:
        words, directory, environment = arguments[0], arguments[5], arguments[6]
        pipes = arguments[10:16]
        # The loader workers of a process that a launcher of several has forked wait for each other for ever.
        if not can_run(words) or "TORCHELASTIC_RUN_ID" in (environment or {}):
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        sys.stdout.flush()
        sys.stderr.flush()
        given = os.environ if environment is None else environment
        self.pid = fork(words, dict(given), str(directory or Path.cwd()), arguments[21], _streams(pipes))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class Server:
    """The process that imports everything and forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            one_thread = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "ROOM": ROOM}
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), ROOM],
                stdin=subprocess.DEVNULL,
                env=os.environ | one_thread,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._lock = threading.Lock()
        assert self._socket.recv(2**18) == b"ready"

    def ask(self, request: Mapping[str, Any], streams: Sequence[int] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
            return json.loads(self._socket.recv(2**18))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)


class WarmPopen(subprocess.Popen):  # type: ignore[type-arg]
    """`subprocess.Popen` whose Python is a fork of the server; anything else is started as ever."""

    server = functools.cache(Server)

    @classmethod
    def close(cls) -> None:
        """End the server, if there is one."""
        if cls.server.cache_info().currsize:
            cls.server().close()

    def _execute_child(self, *arguments: Any) -> None:
        words, directory, environment = arguments[0], arguments[5], arguments[6]
        pipes = arguments[10:16]
        self._is_fork = can_run(words)
        if not self._is_fork:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        request = {
            "words": words,
            "environment": dict(os.environ if environment is None else environment),
            "directory": str(directory or Path.cwd()),
            "new_session": arguments[21],
        }
        self.pid = WarmPopen.server().ask(request, _streams(pipes))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        if not self._is_fork:
            return super()._internal_poll(_deadstate)  # type: ignore[misc, no-any-return]
        if self.returncode is None:
            with self._waitpid_lock:  # type: ignore[attr-defined]
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if not self._is_fork:
            return super()._try_wait(flags)  # type: ignore[misc, no-any-return]
        while True:
            try:
                status = WarmPopen.server().ask({"wait": self.pid})
            except OSError:  # the server has been closed
                return self.pid, 0
            if status is not None or flags:
                return (0, 0) if status is None else (self.pid, status)
            time.sleep(0.01)


def _streams(pipes: Sequence[int]) -> list[int]:
    """The files that a child gets as its standard streams: of pipes as `subprocess.Popen` has them, or this one's."""
    return [given if given != -1 else number for number, given in enumerate((pipes[0], pipes[3], pipes[5]))]


def serve(asker: socket.socket) -> None:
    """Answer until the other end of the socket is closed."""
    while True:
        message, streams, _, _ = socket.recv_fds(asker, 2**18, 3)
        if not message:
            return
        asked = json.loads(message)
        answer: int | None
        if "wait" in asked:
            pid, status = os.waitpid(asked["wait"], os.WNOHANG)
            answer = status if pid else None
        else:
            answer = fork(**asked, streams=streams)
        for stream in streams:
            os.close(stream)
        asker.send(json.dumps(answer).encode())


def main() -> None:
    subprocess.Popen = ForkedPopen  # type: ignore[misc]

    import torch

    import rbp_engine
    import rbp_tui.cli

    for package in (rbp_engine, rbp_tui.cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in MODULES:
        importlib.import_module(name)
    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)  # imports a lot
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")  # of modules that are loaded already
    gc.collect()
    gc.freeze()
    asker = socket.socket(fileno=int(sys.argv[1]))
    asker.send(b"ready")
    serve(asker)


if __name__ == "__main__":
    main()
