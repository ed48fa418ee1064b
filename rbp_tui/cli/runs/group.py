"""`rbp runs`: annotate, export, remove and restore runs."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rbp_engine.printable import visible
from rbp_engine.run.errors import NoSuchRun, RunError, cannot
from rbp_engine.run.files.layout import RunDirectory, write_atomic
from rbp_engine.settings.machine import runs_directory
from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import KEEP, Json, RunsDir
from rbp_tui.cli.output import console, print_json, print_lines, print_rich, say
from rbp_tui.cli.runs.choice import Run, Runs, SomeRuns, Yes, find, for_each, select
from rbp_tui.cli.runs.columns import Columns, named_settings
from rbp_tui.cli.runs.packing import pack, unpack
from rbp_tui.cli.runs.prune import prune
from rbp_tui.cli.trust import Trust, once_trusted
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled


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

    def put(run: RunDirectory) -> dict[str, object]:
        same = read_annotations(run).archived is not undo
        if not same:
            set_archived(run, archived=not undo)
        if same and not as_json:
            say("{} is {}", run.id, "not in the archive" if undo else "in the archive already")
        elif undo and not as_json:
            say("{} is listed again", run.id)
        elif not as_json:
            say("archived {}; rbp runs archive --undo {} brings it back", run.id, run.id)
        return {"id": run.id, "archived": not undo}

    for_each(select(runs, runs_dir, archived=undo), put, as_json=as_json)


def register(app: typer.Typer) -> None:
    group = Typer(
        cls=CommandGroup,
        name="runs",
        help="Tag, note, archive, pack, rm (remove) and restore runs.",
        no_args_is_help=True,
    )
    group.command(
        epilog="Examples:  rbp runs tag 3f2a +paper -draft   ·   rbp runs tag status:failed +look",
        # `-word` takes a tag away, so that no letter may be an option here.
        context_settings={"ignore_unknown_options": True, "help_option_names": ["--help", "--help-all"]},
    )(tag)
    group.command(epilog='Example:  rbp runs note last "the first with cutout"')(note)
    group.command(epilog="Examples:  rbp runs archive 3f2a 9c01   ·   rbp runs archive archived:true --undo")(archive)
    group.command(epilog="Examples:  rbp runs rm 3f2a 9c01   ·   rbp runs rm 'status:failed age>7d'")(rm)
    group.command(epilog="Examples:  rbp runs restore   ·   rbp runs restore 3f2a")(restore)
    group.command(epilog="Example:  rbp runs prune 'status:completed age>30d' --keep best")(prune)
    group.command(epilog="Examples:  rbp runs pack 3f2a   ·   rbp runs pack last --weights best -o run.zip")(pack)
    group.command(epilog="Examples:  rbp runs unpack run.zip   ·   rbp runs unpack run.zip --as theirs")(unpack)
    group.command(
        "csv", epilog="Examples:  rbp runs csv last -o curves.csv   ·   rbp runs csv last --columns lr,batch"
    )(export_csv)
    app.add_typer(group, rich_help_panel=KEEP)


def tag(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN +TAG -TAG",
            help="Runs (rbp ls shows them), tags to add, and tags to take away.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ],
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Add and take away tags of runs; without any, show the tags that they have."""
    from rbp_engine.run.files.annotations import change_tags, tag_words
    from rbp_engine.run.store.store import record

    if words[0] == "-h":
        typer.echo(context.get_help())
        return
    if unknown := [word for word in words if word.startswith("--")]:
        raise typer.BadParameter(f"no such option: {unknown[0]}")
    named, added, removed = tag_words(words)
    if not named:
        raise typer.BadParameter("name a run: rbp runs tag RUN +TAG")

    def change(run: RunDirectory) -> dict[str, object]:
        if added or removed:
            change_tags(run, added, removed)
        tags = list(record(run).tags)
        if not as_json:
            print_rich(styled("{}  {}", run.id, " ".join(tags) or styled("[dim]no tags[/]")), soft_wrap=True)
        return {"id": run.id, "tags": tags}

    for_each(_tagged(words, named, runs_dir), change, as_json=as_json)


def _tagged(words: list[str], plain_words: Sequence[str], runs_dir: Path | None) -> list[RunDirectory]:
    """The runs that the words without a sign mean. Of words behind a run that mean none, tags were expected."""

    chosen: dict[RunDirectory, None] = {}
    for word in plain_words:
        try:
            chosen.update(dict.fromkeys(select([word], runs_dir)))
        except NoSuchRun as error:
            if not chosen:
                raise
            known = plain_words[: plain_words.index(word)]
            signed = [one if one in known or one not in plain_words else f"+{one}" for one in words]
            command = shlex.join(["rbp", "runs", "tag", *signed])
            raise RunError(f"no run is called {word!r}; to add tags, write a + before each: {command}") from error
    return list(chosen)


def note(
    run: Run,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="The note; '' takes it away.", show_default=False)
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write a note on a run. Without a text it opens $EDITOR, or prints the note where there is no terminal."""
    from rbp_engine.run.files.annotations import note_as_written, set_note
    from rbp_tui.cli.presets.editor import edit_text

    directory = find(run, runs_dir)
    old = note_as_written(directory)
    if text is not None:
        set_note(directory, " ".join(text))
    elif sys.stdin.isatty() and sys.stdout.isatty():
        set_note(directory, edit_text(old))
    elif old:
        print_lines(visible(old))


def rm(
    runs: SomeRuns = None,
    now: Annotated[bool, typer.Option("--now", help="Delete for good, without the trash.")] = False,
    trashed: Annotated[
        bool, typer.Option("--trash", help="Delete for good what is in the trash, without RUN.")
    ] = False,
    yes: Yes = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
) -> None:
    """Move runs that have ended to the trash, from where rbp runs restore brings them back."""
    from rbp_engine.run.status.status import judge
    from rbp_engine.run.store import trash

    if trashed is bool(runs) or (trashed and now):
        raise typer.BadParameter("name runs that go to the trash, with --now for good, or say --trash to empty it")
    if trashed:
        place = runs_directory(runs_dir)
        if entries := trash.list_trash(place):
            _ask([entry.run.id for entry in entries], yes=yes)
        say("deleted {}", fmt.counted(once_trusted(lambda: trash.empty_trash(place, entries), trust=trust), "run"))
        return
    directories = select(runs or [], runs_dir)
    if now and (ended := [directory.id for directory in directories if not judge(directory).live]):
        _ask(ended, yes=yes)

    def remove(directory: RunDirectory) -> None:
        if now:
            trash.remove_run(directory)
            say("removed {}", directory.id)
        else:
            moved = trash.move_to_trash(directory)
            say("moved {} to the trash; rbp runs restore {} brings it back", directory.id, moved.run.id)

    for_each(directories, remove, trust=trust)


def restore(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs in the trash; 'last' was removed last. Without one, they are listed, the newest last.",
            show_default=False,
        ),
    ] = None,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Bring runs back from the trash, or show what is in it."""
    from rbp_engine.run.store import trash
    from rbp_tui.cli.runs.runs_table import trash_plain, trash_table

    directory = runs_directory(runs_dir)

    def bring_back(reference: str) -> str:
        restored = trash.restore(directory, reference).id
        say("restored {}", restored)
        return restored

    if runs:
        for_each(runs, bring_back, trust=trust, as_json=as_json)
        return
    entries = trash.list_trash(directory)
    if as_json:
        print_json([trash_plain(entry) for entry in entries])
    elif entries:
        print_rich(trash_table(entries, console().width))
    else:
        say("nothing in {}", trash.trash_directory(directory))


def export_csv(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The file; stdout if not said.")
    ] = None,
    columns: Columns = None,
    runs_dir: RunsDir = None,
) -> None:
    """Training metrics and validations of a run as one CSV table, a line for each measurement."""
    from rbp_engine.report.events_csv import events_csv

    text = events_csv(find(run, runs_dir), named_settings(columns))
    if output is None:
        print_lines(text)
        if sys.stdout.isatty():
            say("[dim]-o FILE writes this table into a file[/]")
        return
    with cannot(f"write {output}"):
        write_atomic(output, text)
    say("wrote {}", output)


def _ask(run_ids: list[str], *, yes: bool) -> None:
    """Make sure that runs are to be deleted for good."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("say --yes to delete runs for good without a terminal")
    for run_id in run_ids:
        say("  {}", run_id)
    typer.confirm(f"Delete {fmt.counted(len(run_ids), 'run')} for good?", abort=True, err=True)
