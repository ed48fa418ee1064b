"""`rbp runs archive` and `unarchive`: runs that are kept, but out of the way."""

from pathlib import Path
from typing import TYPE_CHECKING

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.runs.choice import ArchivedRuns, Runs, select

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory


def archive(runs: Runs, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Keep runs out of the way: rbp ls and the dashboard list them only for the query archived, or with --all.

    Nothing is moved, and nothing in them changes but a mark. They are found by their id, and reports and comparisons
    count them as before; not:archived in a query leaves them out there. A live run is listed until it has ended.
    """
    changed, same = _mark(runs, runs_dir, archived=True)
    if as_json:
        print_json([{"id": run.id, "archived": True} for run in (*changed, *same)])
        return
    for run in changed:
        say("archived {}; rbp runs unarchive {} brings it back", run.id, run.id)
    for run in same:
        say("{} is in the archive already", run.id)


def unarchive(runs: ArchivedRuns, runs_dir: RunsDir = None, as_json: Json = False) -> None:
    """Bring runs back from the archive into the lists."""
    changed, same = _mark(runs, runs_dir, archived=False)
    if as_json:
        print_json([{"id": run.id, "archived": False} for run in (*changed, *same)])
        return
    for run in changed:
        say("{} is listed again", run.id)
    for run in same:
        say("{} is not in the archive", run.id)


def _mark(
    words: list[str], runs_dir: Path | None, *, archived: bool
) -> "tuple[list[RunDirectory], list[RunDirectory]]":
    """Mark the runs that are meant; returns those that have changed, and the others."""
    from rbp_engine.run.files.annotations import read_annotations, set_archived

    chosen = select(words, runs_dir, archived=not archived)
    changed = [run for run in chosen if read_annotations(run).archived is not archived]
    for run in changed:
        set_archived(run, archived=archived)
    return changed, [run for run in chosen if run not in changed]
