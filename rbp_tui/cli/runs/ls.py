"""`rbp ls`: the runs that fit a query."""

from typing import Annotated

import typer

from rbp_engine.printable import one_line
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli.options import LOOK, Json, RunsDir
from rbp_tui.cli.output import console, print_json, print_rich, say
from rbp_tui.cli.runs.choice import Query, as_plain
from rbp_tui.cli.runs.columns import Columns, named_columns, settings_plain


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=LOOK,
        epilog="Examples:  rbp ls 'status:failed age<1d'   ·   rbp ls digits --columns lr,optim.momentum   ·   "
        "rbp ls 'acc>0.9 tag:night' --sort best -n 5",
    )(ls)


def ls(
    query: Query = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Sort by a field, as best, last, loss, created (the default); -FIELD reverses the order.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--limit",
            metavar="N",
            min=1,
            help="Only the N newest of them; with --sort, the first N.",
            show_default=False,
        ),
    ] = None,
    archived_too: Annotated[bool, typer.Option("--all", "-a", help="Runs in the archive, too.")] = False,
    columns: Columns = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """List the runs, the newest last; sorted by an accuracy, the best first. A wide terminal shows more columns.

    Settings in which the runs differ are columns; --columns chooses others. With --json they stand under "settings".

    Fields of a query: acc (the best), last, loss, epoch, T, seed, lr, batch,
    arch, data, method, status, cause, preset, name, tag, note, host, age,
    created, speed, mem, size (on the disk), sweep, trial, processes, attempts,
    archived, all others of summary.json, as best.epoch, and keys of presets,
    as optim.lr.

    A single word is searched in id, preset, name, method, tags and note.
    In texts = means the whole and : a part, as method=rate_m, method:rate; of
    numbers both mean equal. created>2d means younger than two days, a date the
    whole day: created>=2026-11-24 has that one, too. "or" separates
    alternatives.
    """
    from rbp_engine.run.store.query import parse_query, sort_runs, why_none_fits
    from rbp_engine.run.store.store import STATUSES, list_runs
    from rbp_tui.cli.runs.runs_table import column_of, placed_columns, runs_table

    wanted = named_columns(columns, column_of)
    words = " ".join(query or ())
    asked = parse_query(words)
    fits = asked if archived_too else asked.lists
    runs = runs_directory(runs_dir)
    known = list_runs(runs)
    asked.require_known(known)
    try:
        fitting = sort_runs([record for record in known if fits(record)], sort or "created")
    except ValueError as error:
        raise typer.BadParameter(one_line(str(error)), param_hint="--sort") from error
    records = fitting if limit is None else fitting[:limit] if sort else fitting[-limit:]
    if as_json:
        settings = settings_plain(records, wanted)
        print_json([as_plain(record) | {"settings": settings[record.run.id]} for record in records])
    elif not known:
        say("no runs in {} yet; begin with: rbp train digits, or name another place by --runs-dir", runs)
    else:
        if records:
            placed, left_out = placed_columns(records, console().width, wanted)
            print_rich(runs_table(records, placed))
            if left_out:
                say("[dim]no room for {}; a wider terminal shows more[/]", ", ".join(left_out))
        if len(records) < len(known):
            hidden = 0 if asked.about_archived or archived_too else sum(record.hidden for record in known)
            archived = f"; {hidden} in the archive: rbp ls archived" if hidden else ""
            of = f"{len(fitting)} that fit, of " if len(records) < len(fitting) < len(known) else ""
            newest = "; for the newest run: rbp show last" if words == "last" else why_none_fits(words, known)
            meant = f"; a status is status:{words}" if words in STATUSES else newest
            say("[dim]{} of {}{} runs{}{}[/]", len(records), of, len(known), archived, "" if records else meant)
