"""Create the folder of a new run under a hidden name, which no reader takes for a run, and rename it when complete.

A process that is killed in between leaves a folder that readers do not see. The next one that makes a run removes it,
if nobody is busy with it: a lease beside it says so, and never the folder's age.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from rbp_engine import lease
from rbp_engine.disk import sync
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError, Taken, cannot
from rbp_engine.run.files.layout import RunDirectory, check_run_id

PREFIX = ".new-"
#: What the name of the file ends in by whose lease somebody is busy with a hidden folder.
LEASE = ".lease"


def make_run(
    runs: Path, run_id: str | None, new_id: Callable[[], str], write: Callable[[RunDirectory, str], None]
) -> RunDirectory:
    """Make a run of the given id, or of a new one, whose files `write` puts into a folder; it is given the id, too.

    Leaves nothing behind if that fails. Raises Taken for an id that is in use, RunError for one that is malformed or a
    runs directory that cannot be written, and what `write` raises.
    """
    if run_id is not None:
        check_run_id(run_id)
    trust.require_place(runs)
    for _ in range(100):  # draw again if a run of the same second and name has the id
        run = RunDirectory(runs / (run_id or new_id()))
        if _make(run, write):
            return run
        if run_id is not None:
            raise Taken(_taken(run))
    raise RunError(f"no free id for a run in {runs}")


def _make(run: RunDirectory, write: Callable[[RunDirectory, str], None]) -> bool:
    """Make the folder of a run; False if its name is taken. Raises RunError."""
    runs = run.path.parent
    with cannot(f"write to the runs directory {runs}"):
        if os.path.lexists(run.path):
            return False
        missing = [path for path in (runs, *runs.parents) if not path.exists()]
        runs.mkdir(parents=True, exist_ok=True)
        for path in missing:
            with contextlib.suppress(OSError):  # a folder may be writable but not readable
                sync(path.parent)
        made = contextlib.ExitStack()
        hidden = made.enter_context(hidden_folder(runs))
    with made, cannot(f"write the run into {runs}"):
        for folder in (
            run.attempts,
            run.control,
            run.checkpoints,
            run.events().parent,
            run.stdout().parent,
        ):
            (hidden / folder.relative_to(run.path)).mkdir(parents=True)
        write(RunDirectory(hidden), run.id)
        return publish(hidden, run)


def _taken(run: RunDirectory) -> str:
    """The reason why a new run cannot have this id."""
    if not run.run_json.is_file():
        return f"{run.path} is in the way, and is no run: use another --id, or move it"
    return f"the run {run.id} exists already in {run.path.parent}: rbp resume {run.id}, or --resume-or-start"


@contextlib.contextmanager
def hidden_folder(place: Path) -> Iterator[Path]:
    """Make a hidden folder in a place, for what gets its name when it is complete; at the end it is removed, if it is
    still there.

    Removes what was left by others. Nobody removes this one meanwhile, however long that takes. Raises OSError.
    """
    for left in place.glob(f"{PREFIX}*{LEASE}"):
        with contextlib.suppress(OSError):
            if (taken := lease.try_take(left)) is not None:
                _remove(left)
                taken.release()
    held = place / f"{PREFIX}{secrets.token_hex(6)}{LEASE}"
    try:
        with lease.taken(held):
            held.with_suffix("").mkdir()
            yield held.with_suffix("")
    finally:
        _remove(held)


def _remove(held: Path) -> None:
    """Remove a hidden folder, and then the file of its lease, which nobody else has."""
    shutil.rmtree(held.with_suffix(""), ignore_errors=True)
    held.unlink(missing_ok=True)


def publish(hidden: Path, run: RunDirectory) -> bool:
    """Flush a run to the disk and rename it atomically; False if the name is taken. Raises OSError."""
    for folder, _, _ in os.walk(hidden):  # the files were flushed when they were written
        sync(Path(folder))
    try:
        hidden.rename(run.path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    sync(run.path.parent)
    return True
