"""`rbp runs`: look at runs, compare, annotate, export and remove them."""

import functools
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_engine.printable import visible
from rbp_tui.cli import completion
from rbp_tui.cli.command_group import CommandGroup
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import console, print_json, print_lines, print_rich, say
from rbp_tui.cli.runs.archive import archive, unarchive
from rbp_tui.cli.runs.choice import Run, Runs, Yes, as_plain, find, select
from rbp_tui.cli.runs.columns import Columns, named_settings
from rbp_tui.cli.runs.disk import disk
from rbp_tui.cli.runs.layers import layers
from rbp_tui.cli.runs.packing import pack, unpack
from rbp_tui.cli.runs.prune import prune
from rbp_tui.cli.runs.rerun import rerun
from rbp_tui.cli.runs.why import why
from rbp_tui.cli.trust import Trust, once_trusted
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from rbp_engine.run.files.layout import RunDirectory


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        cls=CommandGroup, name="runs", help="Look at runs, compare, annotate and remove them.", no_args_is_help=True
    )
    group.command(epilog="Examples:  rbp runs show last   ·   rbp runs show 3f2a --json")(show)
    group.command(epilog="Examples:  rbp runs why last   ·   rbp runs why 'age<1d' --json")(why)
    group.command(epilog="Examples:  rbp runs layers last   ·   rbp runs layers 3f2a --epoch 10 --json")(layers)
    group.command(
        epilog="Examples:  rbp runs compare 3f2a 9c01   ·   rbp runs compare 'data=digits T=4' --baseline 9c01"
    )(compare)
    group.command(
        epilog="Examples:  rbp runs tag 3f2a +paper -draft   ·   rbp runs tag 'status:failed' +look",
        # `-word` takes a tag away, so that no letter may be an option here.
        context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    )(tag)
    group.command(epilog='Example:  rbp runs note last "the first with cutout"')(note)
    group.command(epilog="Examples:  rbp runs archive 3f2a 9c01   ·   rbp runs archive 'tag:paper age>30d'")(archive)
    group.command(epilog="Examples:  rbp runs unarchive 3f2a   ·   rbp runs unarchive archived:true")(unarchive)
    group.command(epilog="Examples:  rbp runs disk -n 20   ·   rbp runs disk 'age>30d' --json")(disk)
    group.command(
        epilog="Examples:  rbp runs prune 'status:completed age>30d' --keep best   ·   "
        "rbp runs prune 'size>1GiB acc<0.5' --whole --dry-run"
    )(prune)
    group.command(epilog="Examples:  rbp runs rm 3f2a 9c01   ·   rbp runs rm 'status:failed age>7d'")(rm)
    group.command(epilog="Example:  rbp runs restore 3f2a")(restore)
    group.command(epilog="Example:  rbp runs rerun 3f2a")(rerun)
    group.command(epilog="Examples:  rbp runs pack 3f2a   ·   rbp runs pack last --weights best -o run.tar")(pack)
    group.command(epilog="Examples:  rbp runs unpack run.tar   ·   rbp runs unpack run.tar --as theirs")(unpack)
    group.command(epilog="Example:  rbp runs trash --empty")(trash)
    group.command(
        "csv", epilog="Examples:  rbp runs csv last -o curves.csv   ·   rbp runs csv last --columns lr,batch"
    )(export_csv)
    app.add_typer(group)


def show(
    run: Run,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Everything about a run: status and why, progress, last and best, alarms, findings, attempts, its origin."""
    from rbp_engine.run.files.attempts import read_attempts
    from rbp_engine.run.files.layout import read_json
    from rbp_engine.run.files.run_json import read_run_json
    from rbp_engine.run.status.history_reader import read_alarms, read_findings
    from rbp_engine.run.store.store import record
    from rbp_tui.cli.runs.describe import describe_run
    from rbp_tui.text.alarm_text import alarm_plain

    directory = find(run, runs_dir)
    found = record(directory)
    alarms, ended = read_alarms(directory), () if found.verdict.live else read_findings(directory)
    if as_json:
        summary = as_plain(found) if found.readable else None
        attempts = [asdict(attempt) for attempt in read_attempts(directory)]
        run_json = read_json(directory.run_json)
        shown = {"summary": summary, "run": run_json, "attempts": attempts, "path": str(directory.path)}
        judged = {"alarms": alarms, "findings": ended}
        print_json(shown | {name: [alarm_plain(alarm) for alarm in each] for name, each in judged.items()})
        return
    print_rich(describe_run(directory, found, read_run_json(directory), alarms if found.verdict.live else ended))


def compare(
    runs: Runs,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Whose experiment the others are measured against; else the first RUN's.",
            autocompletion=completion.one_run,
        ),
    ] = None,
    each_run: Annotated[bool, typer.Option("--each-run", help="A line for each run, not for each experiment.")] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Runs beside each other by experiment: last and best accuracy, speed, memory, and what differs.

    Accuracies are mean ± standard deviation over the seeds. Δ is the difference to the baseline, paired by seed: its
    mean over the seeds that both have ± the 95 % confidence interval, in percentage points.

    A second table has the accuracy at equal cost: after as many epochs, in the same time, in the same memory.
    """
    from rbp_engine.report.compare import compare as compared
    from rbp_engine.report.equal_cost import equal_cost, read_top1
    from rbp_tui.text.comparison_text import comparison_plain, comparison_text
    from rbp_tui.text.equal_cost_text import equal_cost_plain, equal_cost_text

    found = compared(
        select(runs, runs_dir, archived=True), find(baseline, runs_dir) if baseline else None, each_run=each_run
    )
    directories = {one.run.id: one.run for group in found.groups for one in group.runs}
    curves = {run_id: read_top1(run) for run_id, run in directories.items()} if len(found.groups) > 1 else {}
    equal = equal_cost(found, curves.get)
    if as_json:
        print_json(comparison_plain(found) | {"equal_cost": equal_cost_plain(equal) if equal.seconds else None})
        return
    if found.groups:
        say("[dim]★ baseline:[/] {}", found.baseline_title)
        print_rich(comparison_text(found, console().width).whole)
    if equal.seconds:
        print_rich(styled("\n[bold]at equal cost[/]"))
        print_rich(equal_cost_text(found, equal, console().width).whole)
    for run in found.excluded:
        say("[dim]left out {}:[/] {}", run.id, run.reason)


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
    given = tag_words(words)
    if not given.plain:
        raise typer.BadParameter("name a run: rbp runs tag RUN +TAG")
    shown = {}
    for directory in _tagged(words, given.plain, runs_dir):
        if given.added or given.removed:
            change_tags(directory, given.added, given.removed)
        shown[directory.id] = list(record(directory).tags)
    if as_json:
        print_json([{"id": run_id, "tags": tags} for run_id, tags in shown.items()])
        return
    for run_id, tags in shown.items():
        shown_tags = " ".join(tags) if tags else styled("[dim]no tags[/]")
        print_rich(styled("{}  {}", run_id, shown_tags), soft_wrap=True)


def _tagged(words: list[str], plain_words: Sequence[str], runs_dir: Path | None) -> "list[RunDirectory]":
    """The runs that the words without a sign mean. Of words behind a run that mean none, tags were expected."""
    from rbp_engine.run.errors import NoSuchRun, RunError

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
    runs: Runs,
    now: Annotated[bool, typer.Option("--now", help="Delete for good, without the trash.")] = False,
    yes: Yes = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
) -> None:
    """Move runs that have ended to the trash, from where rbp runs restore brings them back."""
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.status.status import judge
    from rbp_engine.run.store.trash import move_to_trash, remove_run

    directories = select(runs, runs_dir)
    if live := [directory.id for directory in directories if judge(directory).live]:
        raise RunError(f"still running: {', '.join(live)}; stop or kill first")
    if now:
        _ask([directory.id for directory in directories], yes=yes)
    for directory in directories:
        if now:
            once_trusted(functools.partial(remove_run, directory), trust=trust)
            say("removed {}", directory.id)
        else:
            trashed = once_trusted(functools.partial(move_to_trash, directory), trust=trust)
            say("moved {} to the trash; rbp runs restore {} brings it back", directory.id, trashed.run.id)


def restore(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Runs in the trash (rbp runs trash shows them); 'last' was removed last.",
            show_default=False,
            autocompletion=completion.removed_runs,
        ),
    ],
    trust: Trust = False,
    runs_dir: RunsDir = None,
) -> None:
    """Bring runs back from the trash."""
    from rbp_engine.run.store import trash as bin_
    from rbp_engine.settings.machine import runs_directory

    for reference in runs:
        directory = once_trusted(functools.partial(bin_.restore, runs_directory(runs_dir), reference), trust=trust)
        say("restored {}", directory.id)


def trash(
    empty: Annotated[bool, typer.Option("--empty", help="Delete everything in it for good.")] = False,
    yes: Yes = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """What is in the trash, the newest last."""
    from rbp_engine.run.store.trash import empty_trash, list_trash, trash_directory
    from rbp_engine.settings.machine import runs_directory
    from rbp_tui.cli.runs.table import trash_plain, trash_table

    directory = runs_directory(runs_dir)
    entries = list_trash(directory)
    if empty:
        if entries:
            _ask([entry.run.id for entry in entries], yes=yes)
        count = once_trusted(lambda: empty_trash(directory), trust=trust)
        say("deleted {} run{}", count, "" if count == 1 else "s")
    elif as_json:
        print_json([trash_plain(entry) for entry in entries])
    elif entries:
        print_rich(trash_table(entries))
    else:
        say("nothing in {}", trash_directory(directory))


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
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.files.layout import write_atomic

    directory = find(run, runs_dir)
    text = events_csv(directory, named_settings(columns))
    if output is None:
        print_lines(text)
        return
    try:
        write_atomic(output, text)
    except OSError as error:
        raise RunError(f"cannot write {output}: {error.strerror}") from error
    say("wrote {}", output)


def _ask(run_ids: list[str], *, yes: bool) -> None:
    """Make sure that runs are to be deleted for good."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("say --yes to delete runs for good without a terminal")
    for run_id in run_ids:
        say("  {}", run_id)
    typer.confirm(f"Delete {len(run_ids)} run{'' if len(run_ids) == 1 else 's'} for good?", abort=True, err=True)
