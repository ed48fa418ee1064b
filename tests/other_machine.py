"""Another machine with the same disk: another host name, boot id and pid namespace. Needs root."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

BOOT_ID = "/proc/sys/kernel/random/boot_id"
START = 'hostname "$1" && mount --bind "$2" "$3" && echo up && exec sleep infinity'


class OtherMachine:
    """Runs commands as another machine would, until it is switched off, which kills all of them."""

    def __init__(self, folder: Path, name: str = "box2") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._boot_id = folder / f"boot-id-of-{name}"
        self._boot_id.write_text(f"{uuid.uuid4()}\n")
        self._start()

    def _start(self) -> None:
        apart = ["unshare", "--pid", "--uts", "--mount", "--fork", "--kill-child", "--mount-proc"]
        words = [*apart, "sh", "-c", START, "sh", self.name, str(self._boot_id), BOOT_ID]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdout.readline() == b"up\n"
        (child,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.init = int(child)

    def command(self, *words: str) -> list[str]:
        """The words that run a command there."""
        return ["nsenter", "--target", str(self.init), "--pid", "--uts", "--mount", f"--wd={Path.cwd()}", *words]

    def python(self, code: str, *words: str, **environment: str) -> str:
        """What a Python program prints there. Raises CalledProcessError if it fails."""
        done: Any = subprocess.run(
            self.command(sys.executable, "-P", "-c", code, *words),
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            text=True,
            timeout=120,
            check=True,
        )
        return str(done.stdout)

    def start_python(self, code: str, *words: str) -> "subprocess.Popen[bytes]":
        """Start a Python program there; it ends with the machine."""
        words = (sys.executable, "-P", "-c", code, *words)
        return subprocess.Popen(self.command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def rename(self, name: str) -> None:
        """Give the host another name, while everything goes on."""
        subprocess.run(self.command("hostname", name), check=True, timeout=60)
        self.name = name

    def switch_off(self) -> None:
        """End everything at once; returns when it has ended."""
        if self._process.poll() is None:
            os.kill(self.init, signal.SIGKILL)
            self._process.communicate(timeout=60)

    def start_again(self) -> None:
        """Boot it anew."""
        self.switch_off()
        self._boot_id.write_text(f"{uuid.uuid4()}\n")
        self._start()

    def __enter__(self) -> "OtherMachine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.switch_off()
