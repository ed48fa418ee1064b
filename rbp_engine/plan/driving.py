"""The processes that drive searches: one for a search, on the host where it was started, in a session of its own.

Its lease lies beside the runs, so that no other host that has them drives the search, too.
"""

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rbp_engine import lease
from rbp_engine.lease import Lease
from rbp_engine.os_process import Process
from rbp_engine.owners import make_private
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import Search
from rbp_engine.printable import Lines, visible
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import read_record, write_json
from rbp_engine.run.launch.environment import in_background
from rbp_engine.run.queue.host_lock import host_directory, usable

DRIVER = "rbp_engine.plan.driver"
FOLDER = "searches"
POLL_S = 0.05
# It imports Optuna, on a machine that may be busy.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class SearchEnd:
    """How the driver of a search says that it has ended. `failed`: the search cannot go on as it is."""

    ended: Lines
    failed: bool = False


def files_of(search: Search) -> Path:
    """What the driver of a search says at its end; its log is beside it."""
    folder = host_directory() / FOLDER
    with usable(folder):
        make_private(folder)
    place = hashlib.sha256(os.fsencode(search.request.options.runs.resolve())).hexdigest()[:8]
    return folder / f"{search.name}-{place}.json"


def be_driver(search: Search) -> Lease | None:
    """The lease of the driver of a search; None if another process has it. Raises RunError."""
    with _lease(search) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lease.try_take(path)


def log_of(search: Search) -> Path:
    """What the driver of a search has written, if it has ended with an error that nobody expected."""
    return files_of(search).with_suffix(".log")


def write_end(search: Search, ended: str, *, failed: bool = False) -> None:
    """Write how the driver of a search has ended."""
    write_json(files_of(search), asdict(SearchEnd(visible(ended), failed)))


def end_of(search: Search) -> SearchEnd | None:
    """How the newest driver on this host has ended; None if it has not, or was killed."""
    return read_record(SearchEnd, files_of(search), None)


def driver_of(search: Search) -> Process | None:
    """The process that drives a search now, on any host. Raises RunError."""
    with _lease(search) as path:
        return lease.holder(path)


def start_driver(asked: SweepRequest, search: Search) -> bool:
    """Start the driver of a search; False if there is one already. Raises RunError if it ends at once."""
    if driver_of(search) is not None:
        return False
    log = log_of(search)
    process = in_background(log, DRIVER, as_text(asked))
    deadline = time.monotonic() + PATIENCE_S
    while not process.poll() and time.monotonic() < deadline:
        driver = driver_of(search)
        if driver is not None and driver.pid == process.pid:
            return True
        if process.poll() == 0:  # another has just been started, or there was nothing left to do
            return driver is None
        time.sleep(POLL_S)
    raise RunError(f"the process that drives {search.name} has not started: {log}")


def as_text(asked: SweepRequest) -> str:
    """The request as JSON, for the process that drives the search."""
    from pydantic import TypeAdapter

    return TypeAdapter(SweepRequest).dump_json(asked).decode()


def requested_in(text: str) -> SweepRequest:
    """The request that `start_driver` has passed on."""
    from pydantic import TypeAdapter

    return TypeAdapter(SweepRequest).validate_json(text)


def stop_driver(search: Search) -> None:
    """End the driver of a search, if one lives; its runs go on."""
    driver = driver_of(search)
    if driver is None:
        return
    if not driver.is_here:
        raise RunError(f"{search.name} is driven by {driver}: stop it there")
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(driver.pid)
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs([process], timeout=10)


@contextlib.contextmanager
def _lease(search: Search) -> Iterator[Path]:
    """The file of the lease of a search; raises RunError where it cannot be used."""
    path = search.request.options.runs / f".{search.name}.search"
    try:
        yield path
    except OSError as error:
        raise RunError(f"{search.name} cannot be driven: {error.filename or path}: {error.strerror}") from error
