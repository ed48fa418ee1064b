"""Real shells at a terminal of their own: a line is typed, Tab is pressed, and the line is read back.

Where several words fit, the shell inserts all of them.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

PATIENCE_S = 60.0
# Ctrl-O prints the line and empties it.
SETUPS = {
    "bash": r"""
        eval "$(_RBP_COMPLETE=source_bash rbp)"
        bind 'set completion-query-items 0'; bind '"\t": insert-completions'
        said() { printf '<<%s>>\n' "$READLINE_LINE"; READLINE_LINE=; READLINE_POINT=0; }
        bind -x '"\C-o": said'
        PS1=; echo rea''dy
    """,
    "zsh": r"""
        autoload -Uz compinit; compinit -D -u
        eval "$(_RBP_COMPLETE=source_zsh rbp)"
        zstyle ':completion:all:*' completer _all_matches _complete
        zstyle ':completion:all:*' insert true
        zle -C all complete-word _generic; bindkey '^I' all
        said() { print -r -- "<<$BUFFER>>"; BUFFER=; }
        zle -N said; bindkey '^O' said
        PS1= RPS1=; echo rea''dy
    """,
}
COMMANDS = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}


def is_there(name):
    return shutil.which(name) is not None


class Shell:
    """bash or zsh in a folder, with `environment`; `stop` ends it."""

    def __init__(self, name, folder, environment):
        (folder / f"setup.{name}").write_text(SETUPS[name])
        self.terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 1000, 0, 0))
        self.process = subprocess.Popen(
            COMMANDS[name], cwd=folder, env=environment, stdin=other, stdout=other, stderr=other,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(other)
        self._type(f". ./setup.{name}\n")
        self._read_until(rb"(ready)")

    def complete(self, line):
        """The line after Tab."""
        self._type(f"{line}\t\x0f")
        return self._read_until(rb"<<(.*?)>>").strip()

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.terminal)

    def _type(self, text):
        os.write(self.terminal, text.encode())

    def _read_until(self, pattern):
        read, end = b"", time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, read)):
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))
            assert ready, read
            read += os.read(self.terminal, 65536)
        return found[1].decode()
