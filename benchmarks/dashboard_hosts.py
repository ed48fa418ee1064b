"""What other hosts in machine.toml cost the dashboard: the first frame, and a core's share while nothing else happens.

Without any; with four that are down (nobody listens on their ports), and with four that take a connection and never say
a word. Interleaved, medians, in a real terminal of 120×40.
"""

import contextlib
import os
import pty
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil

ROUNDS, LISTENED_S, HOSTS = 5, 15.0, 4


def machine(home: Path, port: int | None) -> dict[str, str]:
    """The environment of a user whose ssh reaches all of the hosts at a port of this machine."""
    (home / "bin").mkdir(parents=True)
    (home / "machine.toml").write_text("".join(f"[hosts.h{n}]\n" for n in range(HOSTS)) if port else "")
    (home / "ssh_config").write_text(f"Host *\nHostName 127.0.0.1\nPort {port}\nStrictHostKeyChecking no\n")
    ssh = home / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {home}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    own = {"HOME": str(home), "XDG_STATE_HOME": str(home), "RBP_CONFIG": str(home), "RBP_RUNS": str(home / "runs")}
    return os.environ | own | {"TERM": "xterm-256color", "PATH": f"{home}/bin:{os.environ['PATH']}"}


def start(environment: dict[str, str]) -> tuple["subprocess.Popen[bytes]", int, float]:
    """A dashboard, its terminal, and the seconds until its first frame."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 120))
    begun = time.perf_counter()
    command = [sys.executable, "-c", "from rbp_tui.cli import main; main()"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    drawn = b""
    while b"Presets" not in drawn:
        select.select([master], [], [], 10.0)
        drawn += os.read(master, 1 << 16)
    return process, master, time.perf_counter() - begun


def share_of_a_core(process: "subprocess.Popen[bytes]", master: int) -> float:
    """The CPU time of the dashboard and its ssh while it is listened to, in cores."""

    def used() -> float:
        times = psutil.Process(process.pid).cpu_times()
        return times.user + times.system + times.children_user + times.children_system

    until, before = time.monotonic() + LISTENED_S, used()
    while time.monotonic() < until:
        if select.select([master], [], [], 0.2)[0]:
            os.read(master, 1 << 16)
    return (used() - before) / LISTENED_S


def end(process: "subprocess.Popen[bytes]", master: int) -> None:
    """Leave the dashboard, and take what it still draws: its terminal holds little."""
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        if select.select([master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # it has closed its end
                os.read(master, 1 << 16)
    os.close(master)


with tempfile.TemporaryDirectory() as folder, socket.socket() as silent, socket.socket() as closed:
    silent.bind(("127.0.0.1", 0))
    silent.listen(64)
    closed.bind(("127.0.0.1", 0))  # nobody listens
    ports = {"no hosts": None, "four down": closed.getsockname()[1], "four silent": silent.getsockname()[1]}
    users = {name: machine(Path(folder) / name.replace(" ", "-"), port) for name, port in ports.items()}
    frames: dict[str, list[float]] = {name: [] for name in users}
    cores: dict[str, list[float]] = {name: [] for name in users}
    for number in range(ROUNDS):
        for name, environment in users.items():
            process, master, seconds = start(environment)
            frames[name].append(seconds)
            if number < 3:
                cores[name].append(share_of_a_core(process, master))
            end(process, master)
    for name in users:
        frame, core = statistics.median(frames[name]), statistics.median(cores[name])
        print(f"{name:12} first frame {frame:.2f} s   {100 * core:.1f} % of a core")
