"""The runs of a runs directory: list them, find one by reference, remove one for good."""

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.printable import one_line, visible
from rbp_engine.run import trust
from rbp_engine.run.errors import NoSuchRun, RunError, cannot
from rbp_engine.run.files.annotations import Annotations, read_annotations
from rbp_engine.run.files.layout import ID, RunDirectory, is_called
from rbp_engine.run.files.summary import Summary, load_summary, read_summary
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import ENDED, LIVE, Verdict, judge

UNREADABLE = "unreadable"
#: Every status that a run in a list can have.
STATUSES = (*sorted(LIVE), *sorted(ENDED), "lost", UNREADABLE)


@dataclass(frozen=True)
class RunRecord:
    """The data of a run in a list."""

    run: RunDirectory
    summary: Summary
    verdict: Verdict
    annotations: Annotations = field(default_factory=Annotations)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of its preset and those added later."""
        return self.annotations.tags(self.summary)

    @property
    def hidden(self) -> bool:
        """Whether lists leave it out: it is in the archive, and nothing happens to it."""
        return self.annotations.archived and not self.verdict.live

    @property
    def readable(self) -> bool:
        """Whether more than the id and the verdict of the run is known."""
        return self.verdict.status != UNREADABLE


def run_directories(runs: Path) -> Iterator[RunDirectory]:
    """The run folders in order of their ids, which for generated ids is the order of creation."""
    for name in run_names(runs):
        if _is_run(f"{runs}/{name}/run.json"):
            yield RunDirectory(runs / name)


def run_names(runs: Path) -> list[str]:
    """The names in a runs directory that may be ids of runs, in order; none if the directory does not exist.

    Raises RunError if it cannot be read.
    """
    with cannot(f"read the runs directory {runs}"), contextlib.suppress(FileNotFoundError), os.scandir(runs) as entries:
        return sorted(entry.name for entry in entries if ID.fullmatch(entry.name))
    return []


def is_run(run: RunDirectory) -> bool:
    """Whether the folder is that of a run; a folder that this user may not read counts as one."""
    return _is_run(os.fspath(run.run_json))


def _is_run(run_json: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(run_json).st_mode)  # noqa: PTH116  # a Path takes twice as long
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def record(run: RunDirectory, judged: Callable[[RunDirectory, Summary], Verdict] = judge) -> RunRecord:
    """The record of a run; if it cannot be read, an `unreadable` one with the reason."""
    try:
        summary = load_summary(run)
        return RunRecord(run, summary, judged(run, summary), read_annotations(run))
    except (RunError, OSError) as error:
        return unreadable(run, str(error))


def unreadable(run: RunDirectory, reason: str) -> RunRecord:
    """The record of a run of which nothing but its existence is known, with the reason as lists show it."""
    try:
        found = run.path.stat().st_mtime
    except OSError:
        found = 0.0
    why = visible(reason.replace(f"{run.path}/", ""))
    summary = Summary(one_line(run.id), status=UNREADABLE, reason=why, created=found, progressed=found, updated=found)
    return RunRecord(run, summary, Verdict(UNREADABLE, why), read_annotations(run))


def list_runs(runs: Path) -> list[RunRecord]:
    """All runs, oldest first."""
    return in_order_of_creation(record(run) for run in run_directories(runs))


def in_order_of_creation(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Oldest first."""
    return sorted(records, key=lambda entry: (entry.summary.created, entry.run.id))


def find_run(runs: Path, reference: str, listed_by: str = "rbp ls") -> RunDirectory:
    """The run with this id, unique prefix, last characters (four or more) or name, or `last` for the user's newest.

    Raises NoSuchRun if none fits, RunError with the candidates if several do; the message names `listed_by` as the
    command that lists runs.
    """
    if reference == "last":
        records = [entry for entry in list_runs(runs) if entry.readable and not entry.hidden]
        newest = next((entry.run for entry in reversed(records) if trust.is_own(entry.run)), None)
        if newest is None:
            raise RunError(f"there are no runs{' of yours' if records else ''} in {runs}")
        return newest
    if ID.fullmatch(reference) and (runs / reference / "run.json").is_file():
        return RunDirectory(runs / reference)
    known = list(run_directories(runs)) if reference else []
    summaries = {run: summary for run in known if (summary := read_summary(run)) is not None}
    word = f'"{reference}"' if " " in reference else reference
    of_preset = any(summary.preset == reference for summary in summaries.values())
    of_id = f"preset={reference} takes all of that preset" if of_preset else f"id:{word} takes all with it in their id"
    for all_of, fitting in (
        (of_id, [run for run in known if run.id.startswith(reference)]),
        (of_id, [run for run in known if is_called(run.id, reference)]),
        (
            f"{shlex.quote(f'name={word}')} takes them all",
            [run for run, summary in summaries.items() if summary.name == reference],
        ),
    ):
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            listed = "\n  ".join(run.id for run in fitting[-10:])
            raise RunError(f"{reference!r} may be any of {len(fitting)} runs; {all_of}:\n  {listed}")
    hint = of_id if of_preset else f"{listed_by} shows what is there"
    if not of_preset and any(reference.lower() in summary.name.lower() for summary in summaries.values()):
        hint = f"{shlex.quote(f'name:{word}')} takes all with it in their name"
    raise NoSuchRun(f"no run {reference!r} in {runs} ({hint})")


def refuse_live(run: RunDirectory) -> None:
    """Raise RunError if a process may still be writing into the run's folder."""
    verdict = judge(run)
    if verdict.live:
        raise RunError(f"{run.id} is {verdict.status}: stop or kill it first")
    processes.refuse_remaining(run, None if verdict.status in ENDED else 0.0)


def require_removable(run: RunDirectory) -> None:
    """Raise RunError if a run is live or a link, Untrusted if it is another user's or in another user's folder."""
    refuse_live(run)
    if run.path.is_symlink():
        raise RunError(f"{run.path} is a link to {run.path.readlink()}: remove the link, or the run where it is")
    trust.require_place(run.path.parent)
    trust.require_own(run)
