"""`rbp runs archive`: runs that are kept, but out of the way."""

from typing import Annotated

import typer

from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.runs.choice import Runs, select


def archive(
    runs: Runs,
    undo: Annotated[bool, typer.Option("--undo", help="Bring them back into the lists.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Keep runs out of the way: rbp ls and the dashboard list them only for the query archived, or with --all.

    Nothing is moved, and nothing in them changes but a mark. They are found by their id, and reports and comparisons
    count them as before; not:archived in a query leaves them out there. A live run is listed until it has ended.
    """
    from rbp_engine.run.files.annotations import read_annotations, set_archived

    chosen = select(runs, runs_dir, archived=undo)
    for run in chosen:
        same = read_annotations(run).archived is not undo
        if not same:
            set_archived(run, archived=not undo)
        if same and not as_json:
            say("{} is {}", run.id, "not in the archive" if undo else "in the archive already")
        elif undo and not as_json:
            say("{} is listed again", run.id)
        elif not as_json:
            say("archived {}; rbp runs archive --undo {} brings it back", run.id, run.id)
    if as_json:
        print_json([{"id": run.id, "archived": not undo} for run in chosen])
