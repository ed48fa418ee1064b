"""Another host: an sshd on loopback with keys of its own, whose rbp has a home and a runs directory of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SSHD, SSH, KEYGEN = shutil.which("sshd") or "/usr/sbin/sshd", shutil.which("ssh"), shutil.which("ssh-keygen")


@dataclass
class Box:
    """The other host. `environment` is that of a user here, whose `ssh` knows it as "box" and a dead one as "dead"."""

    folder: Path
    port: int
    environment: dict[str, str]
    daemon: "subprocess.Popen[bytes]"

    @property
    def runs(self):
        return self.folder / "there" / "runs"

    def rbp(self, *words):
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, timeout=120)

    def command(self, *words):
        return [sys.executable, "-c", "from rbp_tui.cli import main; main()", *words]


@pytest.fixture(scope="session")
def box(tmp_path_factory):
    if not (Path(SSHD).exists() and SSH and KEYGEN):
        pytest.skip("there is no OpenSSH server and client here")
    folder = tmp_path_factory.mktemp("hosts")
    for name in ("host_key", "user_key"):
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user_key.pub").read_text())
    here, there = folder / "here", folder / "there"
    for home in (here / "bin", here / "config", there):
        home.mkdir(parents=True)
    port, dead = _free_port(), _free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    common = f"HostName 127.0.0.1\nUser {getpass.getuser()}\nIdentityFile {folder}/user_key\nIdentitiesOnly yes\n"
    common += f"StrictHostKeyChecking no\nUserKnownHostsFile {folder}/known\nLogLevel ERROR\n"
    (folder / "ssh_config").write_text(f"Host box\nPort {port}\n{common}Host dead\nPort {dead}\n{common}")
    _script(here / "bin" / "ssh", f'exec {SSH} -F {folder}/ssh_config "$@"')
    python = f"exec {sys.executable} -c 'from rbp_tui.cli import main; main()' \"$@\""
    exports = f"export HOME={there} XDG_STATE_HOME={there}/state PYTHONPATH={ROOT} OMP_NUM_THREADS=1"
    _script(there / "rbp", f"{exports}\n{python}")
    _script(there / "echo", "printf '%s|' \"$@\"; echo to stderr >&2; exit 7")
    (here / "config" / "machine.toml").write_text(
        f'[hosts.box]\nrbp = "{there}/rbp"\nruns = "{there}/runs"\n[hosts.dead]\n[hosts.bare]\nssh = "box"\n'
        f'[hosts.echo]\nssh = "box"\nrbp = "{there}/echo"\n'
    )
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    log = (folder / "sshd.log").open("wb")
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    environment = {
        "PATH": f"{here}/bin:{os.environ['PATH']}", "HOME": str(here), "XDG_STATE_HOME": str(here),
        "RBP_CONFIG": str(here / "config"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    found = Box(folder, port, environment, daemon)
    until = time.monotonic() + 20
    while subprocess.run([str(here / "bin" / "ssh"), "box", "true"], env=environment).returncode:
        if daemon.poll() is not None or time.monotonic() > until:
            daemon.kill()
            pytest.skip(f"sshd does not serve here: {(folder / 'sshd.log').read_text()[-300:]}")
        time.sleep(0.1)
    yield found
    daemon.terminate()
    daemon.wait()


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """Make an `ssh` that adds its words to a file, a line each, and does what a script says; returns the file."""

    def put(script=""):
        _script(tmp_path / "ssh", f"printf '%s\\n' \"$@\" >> '{tmp_path}/words'\n{script}")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "words"

    return put


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _script(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
