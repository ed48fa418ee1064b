"""Entry point of a training process: `python -m rbp_engine.train.worker <run>`."""

import contextlib
import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.phase import Phase
from rbp_engine.train.errors import Superseded
from rbp_engine.train.ranks.failures import Ending, explain, is_about_others
from rbp_engine.train.ranks.process import RankProcess, end_with_parent
from rbp_engine.train.ranks.signals import StopFlag
from rbp_engine.train.record.journal import Journal

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

EXIT_CODES = {"completed": 0, "failed": 1, "stopped": 4, "preempted": 4}
# The environment variable with the number of the attempt; the starter sets it.
ATTEMPT = "RBP_ATTEMPT"


def main(folder: str) -> int:
    """Run one attempt of the run in `folder` and record how it ended; the exit code repeats that."""
    run = RunDirectory(Path(folder).resolve())
    process = RankProcess.of(run)
    if process.world_size > 1:
        end_with_parent(run)
    stop = StopFlag(run)
    stop.install()
    summary = read_summary(run)
    if summary is None:
        sys.stderr.write(f"{run.run_json} is missing or damaged\n")
        return EXIT_CODES["failed"]
    journal = Journal(run, summary, int(os.environ.get(ATTEMPT, "1")), process)
    preset: Preset | None = None
    try:
        from rbp_engine.run.longer import preset_in_force

        preset = preset_in_force(run)
        journal.update(phase=Phase.IMPORTS)

        # torch is imported from here on, while the journal sends heartbeats. Imports leave no garbage;
        # searching for it would take a sixth of the time.
        gc.disable()
        from rbp_engine.train.attempt import run_attempt

        gc.freeze()
        gc.enable()
        ending, ranks = run_attempt(run, preset, journal, stop, process)
        status = ending.status
        saved = "" if status == "completed" else f", saved at step {summary.step}"
        journal.end(status, f"{ending.reason}{saved}", ending.cause)
    except BaseException as error:
        if _is_superseded(journal, error):
            journal.abandon()
            return EXIT_CODES["stopped"] if process.world_size == 1 else 0
        ending = explain(error, preset, code=run.code, world_size=process.world_size)
        trace = traceback.format_exc()
        with contextlib.suppress(OSError, Superseded):
            if process.world_size > 1:
                _end_rank(journal, error, ending, trace)
            else:
                journal.end(ending.status, ending.reason, ending.cause, trace)
        with contextlib.suppress(OSError):  # a full disk may have no room for both
            sys.stderr.write(trace)
        return EXIT_CODES["failed"]
    with contextlib.suppress(RuntimeError):  # everything is recorded; a process that has died by now does no harm
        ranks.leave()
    if process.world_size > 1:
        _signal_launcher(process, status, stop)
        return 0  # anything else is a failure to torchrun
    return EXIT_CODES[status]


def _is_superseded(journal: Journal, error: BaseException) -> bool:
    """Whether the run is a newer attempt's by now, which may have caused the error: it removes what a save has left."""
    with contextlib.suppress(OSError):
        return isinstance(error, Superseded) or journal.superseded
    return False


def _end_rank(journal: Journal, error: BaseException, ending: Ending, trace: str) -> None:
    """Record an error of this process; other processes explain their own."""
    if is_about_others(error):
        journal.leave(f"lost the other processes: {ending.reason.splitlines()[0]}", trace)
        return
    journal.end(ending.status, ending.reason, ending.cause, trace)
    from torch.distributed.elastic.multiprocessing.errors import ErrorHandler

    ErrorHandler().record_exception(error)  # for the launcher's log


def _signal_launcher(process: RankProcess, status: str, stop: StopFlag) -> None:
    """Signal this node's launcher if only another node was: it would wait minutes for the other launcher."""
    if status == "preempted" and stop.signal is None and process.nodes > 1 and process.local_rank == 0:
        os.kill(os.getppid(), signal.SIGTERM)


def leave(code: int) -> NoReturn:
    """Exit at once.

    Everything is on disk. The interpreter's normal exit takes seconds on a busy machine, and would wait for
    communication with processes that have died.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1]))
