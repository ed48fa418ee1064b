"""Start a queued run: `python -m rbp_engine.run.queue.start_queued <run>`.

The dispatcher claims the run's devices and then runs this with the interpreter, working directory and environment of
the process that queued the run.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.printable import Line, one_line
from rbp_engine.run import trust
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.attempts import newest_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.queue.entries import Entry, entry_of
from rbp_engine.run.queue.holds import inherited
from rbp_engine.run.queue.host_lock import locked
from rbp_engine.run.queue.observe import is_paused
from rbp_engine.run.queue.transitions import drop
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge


def start_queued(run: RunDirectory) -> bool:
    """Start the run on its claimed devices; False if it no longer waits, has no devices, or cannot be started.

    A run that cannot be started is marked `failed`, with the reason, or leaves the queue if that cannot be written.
    """
    held = inherited()
    if newest_attempt(run):  # what is left of the last one has time to leave, while others may use the queue
        processes.remaining_processes(run)
    with locked():
        entry = entry_of(run)
        if entry is None or len(entry.claimed) < entry.takes or judge(run).status != "queued" or is_paused():
            return False
        devices = _show_only(entry)
        try:
            resources = replace(entry.resources, devices=devices) if entry.takes else entry.resources
            launch.start(
                trust.require_launch(run, rendezvous=trust.rendezvous_of(resources)),
                replace(entry, resources=resources),
                leave_s=0.0,
                inherits=held,
            )
        except UserError as error:
            try:
                write_status(run, "failed", f"it could not be started: {error}", Cause.ERROR)
            except OSError:  # it is another user's by now
                drop(run)
            return False
    return True


def _show_only(entry: Entry) -> tuple[int | Line, ...]:
    """Make only the claimed devices visible to the worker; returns their names."""
    named = [device.name for device in entry.claimed if device.name is not None]
    names = tuple(one_line(name) if isinstance(name, str) else name for name in named)
    if names:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, names))
    if entry.threads:
        os.environ.setdefault("OMP_NUM_THREADS", str(entry.threads))
    return names


if __name__ == "__main__":
    start_queued(RunDirectory(Path(sys.argv[1])))
