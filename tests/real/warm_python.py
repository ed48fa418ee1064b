"""Real processes of the project without the seconds that each takes to import torch.

`WarmPopen` is `subprocess.Popen`, but the project's modules and commands are forks of one server, which has imported
torch and never computed. They have their own arguments, environment (also in /proc), directory, descriptors, limits and
signals, and their launcher waits for them as usual; only their parent is another process. The ranks of torchrun, which
end with their parent, are forks of torchrun. Everything else is started as always, also where the launcher is another
user or in another namespace. `RBP_COLD=1` starts every process as always.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).parents[2]
SOCKET = "RBP_WARM_PYTHON"
COMMAND = "from rbp_tui.cli import main; main()"
TORCHRUN = "torch.distributed.run"
COLD = "rbp_engine.train.device"  # has to import torch itself
# Room for the environment and the arguments of a fork where /proc shows them: in the memory of the server's own.
ROOM = "RBP_WARM_ROOM"
_LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]
_REAL = subprocess.Popen
_path = ""  # of the server's socket
_server: "subprocess.Popen[bytes] | None" = None
_module = ""  # that this fork runs
_forks_here = False


def start(path: str) -> "subprocess.Popen[bytes] | None":
    """The server, unless another process has started it with this socket. It ends with this process."""
    try:
        Path(f"{path}.started").touch(exist_ok=False)
    except OSError:
        return None
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT), "OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", ROOM: "x" * 2**15,
    }  # fmt: skip
    command = [sys.executable, "-P", "-c", f"from {__name__} import serve; serve({path!r})", " " * 2**12]
    return _REAL(command, stdin=subprocess.PIPE, env=environment)


def use(path: str) -> None:
    """Start processes of this one by the server with this socket from now on."""
    global _path
    _path = path
    subprocess.Popen = WarmPopen  # type: ignore[misc]


def for_others() -> str:
    """The line of code with which a process that was started as always starts its own as forks."""
    return f"from {__name__} import use; use({_path!r})\n"


def fork_here() -> None:
    """Start processes as forks of this one from now on: they have what it has patched."""
    global _forks_here
    _forks_here = True
    subprocess.Popen = WarmPopen  # type: ignore[misc]


class WarmPopen(subprocess.Popen):  # type: ignore[type-arg]
    """`subprocess.Popen`, where a fork of the server will do."""

    _fork: socket.socket | None = None  # the connection that says how it has ended

    def _execute_child(self, *arguments: Any) -> None:
        (args, executable, preexec, _, pass_fds, cwd, env, _, _, shell, stdin, stdin_here, stdout_here, stdout,
         stderr_here, stderr, _, gid, gids, uid, umask, new_session, group) = arguments  # fmt: skip
        words = [os.fspath(word) for word in args] if not isinstance(args, str | bytes) else []
        variables = dict(os.environ if env is None else env)
        special = executable or preexec or shell or gid is not None or gids or uid is not None or umask >= 0
        # Linux refuses to start a process with so long a word.
        special = special or "PYTHONPROFILEIMPORTTIME" in variables or max(map(len, words), default=0) >= 2**17
        started = None if special or group >= 0 else _started(words)
        from_here = _forks_here or ("TORCHELASTIC_RUN_ID" in variables and _module == TORCHRUN)
        self._fork = connect() if started and not from_here else None
        if not (from_here and started) and self._fork is None:
            super()._execute_child(*arguments)
            return
        request = {
            "words": words,
            "started": started,
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": variables,
            "new_session": new_session,
            "numbers": list(pass_fds),
            "limits": [resource.getrlimit(limit) for limit in _LIMITS],
            "nice": os.nice(0),
            "cores": list(os.sched_getaffinity(0)),
            "umask": _umask(),
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "ignored": [one for one in signal.valid_signals() if signal.getsignal(one) == signal.SIG_IGN],
        }
        streams = [theirs if theirs >= 0 else ours for ours, theirs in enumerate((stdin, stdout, stderr))]
        if self._fork is None:
            self.pid = _fork(request, [*streams, *pass_fds])
        else:
            socket.send_fds(self._fork, [b"f"], [*streams, *pass_fds])
            self._fork.sendall(json.dumps(request).encode() + b"\n")
            self.pid = _number(self._fork)
        self._child_created = True
        self._close_pipe_fds(stdin, stdin_here, stdout_here, stdout, stderr_here, stderr)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return super()._internal_poll(*_, **__) if self._fork is None else self._code(0)

    def _wait(self, timeout: float | None) -> int:
        if self._fork is None:
            return super()._wait(timeout)
        if self._code(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def _code(self, timeout: float | None) -> int | None:
        if not self._waitpid_lock.acquire(blocking=timeout != 0):  # another thread waits
            return None
        try:
            if self.returncode is None and self._fork is not None:
                self._fork.settimeout(timeout)
                with contextlib.suppress(BlockingIOError, TimeoutError):
                    self.returncode = _number(self._fork)
                    self._fork.close()
            return self.returncode
        finally:
            self._waitpid_lock.release()


def _started(words: list[str]) -> tuple[str, str] | None:
    """What a command line of this Python starts, if a fork can do it: ("-c", the command) or ("-m", a module)."""
    if words[:1] != [sys.executable]:
        return None
    how, what, *_ = [word for word in words[1:4] if word not in ("-P", "-u")] + ["", ""]
    ours = what.startswith(("rbp_engine.", "rbp_tui", TORCHRUN)) and not what.startswith(COLD)
    return (how, what) if (how == "-m" and ours) or (how == "-c" and what.endswith(COMMAND)) else None


def connect() -> socket.socket | None:
    """A connection to the server, if there is one whose forks would be as a child of this process is.

    The first process that wants one starts the server, which takes some seconds; until then processes start as always.
    """
    global _server
    if not _path or "RBP_COLD" in os.environ:
        return None
    _server = _server or start(_path)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(_path)
        connection.sendall(json.dumps(_here()).encode() + b"\n")
        if connection.recv(1) == b"y":
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _here() -> list[Any]:
    """What a child has from its parent, and cannot change."""
    namespaces = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("mnt", "pid", "net", "uts")]
    return [sys.executable, os.getuid(), os.geteuid(), os.getgid(), Path("/").stat().st_ino, *namespaces]


def _number(connection: socket.socket) -> int:
    return int(connection.recv(16, socket.MSG_WAITALL))


def _umask() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask"))
    return int(line.split()[1], 8)


def serve(path: str) -> None:
    """The server: each connection is a process to fork. It ends with its stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in (TORCHRUN, "rbp_engine.train.attempt", "rbp_engine.evaluation", "rbp_tui.cli"):
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    import torch

    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)  # imports a lot
    use(path)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that wait
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        while sys.stdin not in (ready := select.select([listening, sys.stdin], [], [])[0]):
            for one in ready:
                connection = one.accept()[0]
                if os.fork() == 0:
                    listening.close()
                    _answer(connection)
                connection.close()


def _answer(connection: socket.socket) -> NoReturn:
    """Fork the process that is asked for, say which it is, wait for it and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stream = connection.makefile("rb", buffering=0)
    here = json.loads(stream.readline()) == _here()
    connection.sendall(b"y" if here else b"n")
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 32)
    if here and descriptors:
        request = json.loads(stream.readline())
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # until the fork can handle them
        pid = _fork(request, descriptors)
        connection.sendall(f"{pid:<16}".encode())
        for descriptor in descriptors:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # its launcher is gone
            connection.sendall(f"{code:<16}".encode())
    os._exit(0)


def _fork(request: dict[str, Any], descriptors: list[int]) -> int:
    """Fork a process; /proc shows it as it was asked for when this returns, as after an exec."""
    seen, shown = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(request, descriptors, shown)
    os.close(shown)
    os.read(seen, 1)  # until the fork closes its end
    os.close(seen)
    return pid


def _become(request: dict[str, Any], descriptors: list[int], shown: int) -> NoReturn:
    """Take over what the launcher has asked for, close `shown`, and run the module or the command."""
    global _module
    if request["new_session"]:
        os.setsid()
    shown = _take(descriptors, [0, 1, 2, *request["numbers"]], shown)
    for limit, values in zip(_LIMITS, request["limits"], strict=True):
        if resource.getrlimit(limit) != tuple(values):
            resource.setrlimit(limit, tuple(values))
    os.nice(request["nice"] - os.nice(0))
    os.sched_setaffinity(0, request["cores"])
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for one in request["ignored"]:
        signal.signal(one, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    _show(request["words"], request["env"])
    os.close(shown)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    unbuffered = "PYTHONUNBUFFERED" in os.environ or "-u" in request["words"][1:4]
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding=encoding, errors="surrogateescape")
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = os.fdopen(number, "wb", buffering=0 if unbuffered else -1)
        text = io.TextIOWrapper(
            raw, encoding=encoding, errors=errors, write_through=unbuffered, line_buffering=number == 2 or raw.isatty()
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    how, what = request["started"]
    _module = what
    place = request["words"].index(what)
    first = [] if "-P" in request["words"][:place] else [""] if how == "-c" else [str(Path.cwd())]
    extra = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*first, *extra, *(path for path in sys.path if path != str(CHECKOUT))]
    sys.argv = [how if how == "-c" else what, *request["words"][place + 1 :]]
    sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(request["cores"])))
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
    _leave(_run(how, what))


def _take(descriptors: list[int], numbers: list[int], kept: int) -> int:
    """Give the descriptors these numbers, and close all others but `kept`; returns the number that this has then."""
    *aside, kept = (fcntl.fcntl(descriptor, fcntl.F_DUPFD, 512) for descriptor in [*descriptors, kept])
    for descriptor, number in zip(aside, numbers, strict=True):
        os.dup2(descriptor, number)
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) not in [*numbers, kept]:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(path.name))
    return kept


def _show(words: list[str], environment: dict[str, str]) -> None:
    """Overwrite the arguments and the environment that /proc shows of this process."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    arguments, arguments_end, start, end = (int(field) for field in fields[45:49])
    shown = "".join(f"{name}={value}\0" for name, value in environment.items()).encode(errors="surrogateescape")
    ctypes.memmove(start, shown[: end - start].ljust(end - start, b"\0"), end - start)
    room = arguments_end - arguments
    # As setproctitle does: one text, and a last byte that is not 0 says so.
    line = " ".join(words).encode(errors="surrogateescape")[: room - 2]
    ctypes.memmove(arguments, line.ljust(room - 1, b"\0") + b"x", room)


def _run(how: str, what: str) -> int:
    """Run the command or the module as the main one; the exit code."""
    try:
        if how == "-c":
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(what, main.__dict__)
        else:
            sys.modules.pop(what, None)
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return (left.code or 0) & 0xFF
        print(left.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        return -signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _leave(code: int) -> NoReturn:
    """End as Python does: threads that are no daemons first."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)
