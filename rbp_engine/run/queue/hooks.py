"""Run the commands in machine.toml for the end of a run, or for an alert while it trains:
`python -m rbp_engine.run.queue.hooks <run> <log> <status> <reason> <cause> <alert> <name of a hook>...`

This is a separate process, so that a command that fails or hangs harms neither the run nor the dispatcher.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from rbp_engine.owners import make_private, writers_problem
from rbp_engine.run.cause import Cause
from rbp_engine.run.files import inside
from rbp_engine.run.files.events import AlertRaised
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict
from rbp_engine.settings.locations import state_directory
from rbp_engine.settings.machine import MachineError, read_machine

MODULE = "rbp_engine.run.queue.hooks"
PATIENCE_S = 600.0
ON_ALERT = "on_alert"
NOWHERE = Path(os.devnull)
# In characters. Linux gives a process no word of more than 128 KiB.
LONGEST_TEXT = 8000


def alert_log(attempt: int, rule: str) -> str:
    """The name of the log of the hook for an alert: one for each rule and attempt."""
    return f"hook-{attempt}-alert-{hashlib.sha256(rule.encode(errors='surrogatepass')).hexdigest()[:8]}"


def given(text: str) -> str:
    """A text as it is given to a process: a long one is cut."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def start_alert_hook(run: RunDirectory, attempt: int, alert: AlertRaised) -> None:
    """Have the hook for an alert run, if there is one, in a process that is none of the run's and outlives this one."""
    with contextlib.suppress(OSError, MachineError):  # training goes on; `rbp doctor` tells of a broken machine.toml
        if read_machine().on_alert:
            words = [alert_log(attempt, alert.rule), "running", "", "", given(alert.message), ON_ALERT]
            subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(run.path), *words],
                cwd="/",
                stdin=subprocess.DEVNULL,
                env=dict(os.environ) | {processes.HOOK: ON_ALERT},
                start_new_session=True,
            )


def run_hooks(
    run: RunDirectory,
    log_name: str,
    verdict: Verdict,
    names: Sequence[str],
    alert: str = "",
    patience_s: float = PATIENCE_S,
) -> None:
    """Run the hooks of these names for the end of an attempt, or for an `alert`: once, however often this is called.

    They get the run's id, folder, status, reason and cause as RBP_RUN_ID, RBP_RUN_DIR, RBP_STATUS, RBP_REASON and
    RBP_CAUSE, and the alert as RBP_ALERT. Their output goes to a file of this name in control/, if that can be written:
    they are also to tell of a full disk. A hook that takes longer than `patience_s` is killed.
    """
    about = {"RBP_STATUS": verdict.status, "RBP_REASON": verdict.reason, "RBP_CAUSE": verdict.cause, "RBP_ALERT": alert}
    try:
        machine = read_machine()
        commands = {"on_end": machine.on_end, "on_failure": machine.on_failure, ON_ALERT: machine.on_alert}
        trouble = ""
    except MachineError as error:
        commands, trouble = {}, str(error)
    if not trouble and not any(commands[name] for name in names):
        return
    try:
        made = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        log = os.fdopen(inside.open_file(run.control / log_name, run.path, made), "wb", buffering=0)
    except FileExistsError:
        return
    except OSError:
        log = NOWHERE.open("wb", buffering=0)
    with log:
        _say(log, trouble)
        for name in names:
            if command := commands.get(name):
                _run(run, about, name, command, log, patience_s)


def _run(
    run: RunDirectory, about: Mapping[str, str], name: str, command: str, log: BinaryIO, patience_s: float
) -> None:
    _say(log, f"{name}: {command}\n")
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=_folder(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=dict(os.environ) | processes.marker(run) | dict(about) | {processes.HOOK: name},
        start_new_session=True,
    )
    try:
        code = process.wait(patience_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _say(log, f"ended: it took longer than {patience_s:.0f} s\n")
    else:
        if code:
            _say(log, f"exit code {code}\n")


def _say(log: BinaryIO, text: str) -> None:
    """Write to a log. If its disk is full, the log goes nowhere from here on, and the commands can still write."""
    try:
        log.write(text.encode(errors="surrogateescape"))
    except OSError:
        with NOWHERE.open("wb") as nowhere:
            os.dup2(nowhere.fileno(), log.fileno())


def _folder() -> Path:
    """Where hooks run: never in a run's folder.

    What lies there may have come with an archive; Python, git and others execute or obey what lies where they start.
    """
    home = Path.home()
    return home if home.is_dir() and not writers_problem(home) else make_private(state_directory())


if __name__ == "__main__":
    folder, log_file, status, reason, cause, message, *wanted = sys.argv[1:]
    run_hooks(RunDirectory(Path(folder)), log_file, Verdict(status, reason, Cause(cause)), wanted, message)
