"""`rbp train`: start a run and follow it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbp_tui.cli.options import (
    Detach,
    Gpus,
    Inexact,
    Json,
    Nnodes,
    Nproc,
    Rdzv,
    Retries,
    RunsDir,
    Seeds,
    chosen_seeds,
    given_resources,
)
from rbp_tui.cli.output import say
from rbp_tui.cli.settings_command import PresetName, Settings, SettingsCommand
from rbp_tui.cli.train.next_steps import Given

if TYPE_CHECKING:
    from rbp_engine.data.catalog import DataMissing
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.files.layout import RunDirectory

# Beyond the half minute after which a run without a sign of life is lost.
MARGIN_S = 5.0


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsCommand,
        epilog="Examples:  rbp train digits   ·   rbp train cifar10-resnet18 T=6 method=bptt   ·   "
        "rbp train mine.toml --seeds 1,2,3 --detach",
    )(train)


def train(
    preset: PresetName,
    overrides: Settings = None,
    run_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Name the run's folder yourself.", show_default=False)
    ] = None,
    resume_or_start: Annotated[
        bool, typer.Option("--resume-or-start", help="With --id: go on with that run, or start it.")
    ] = False,
    seeds: Seeds = None,
    gpus: Gpus = None,
    retries: Retries = None,
    detach: Detach = False,
    nproc: Nproc = None,
    nnodes: Nnodes = None,
    rdzv: Rdzv = None,
    inexact: Inexact = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print preset and command.")] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="With --dry-run: measure and say what a process would take, as rbp cost.")
    ] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Check everything, print a Slurm job file that trains this.")
    ] = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Train a preset and follow it live.

    The run goes on if the terminal goes away. Ctrl-C asks what to do.

    With --seeds or --gpus, runs wait in a queue until each can have a device of its own (rbp queue).

    Exit codes: 0 complete, 1 failed, 2 the preset is wrong, 3 data missing or damaged, 4 stopped before the end.
    """
    from rich.markup import escape

    from rbp_engine.preset import load_preset
    from rbp_engine.run import start
    from rbp_engine.run.errors import NothingToStart
    from rbp_engine.run.files.resources import Resources
    from rbp_engine.run.launch import launch
    from rbp_engine.run.launch.slurm import RENDEZVOUS
    from rbp_engine.run.status.status import LOST_AFTER_S, judge
    from rbp_engine.settings.machine import runs_directory
    from rbp_tui.cli.train.dry_run import print_dry_run
    from rbp_tui.cli.train.following import follow_queued, report_start, start_and_follow

    asked = given_resources(nproc, nnodes, rdzv or (RENDEZVOUS if slurm and (nnodes or 1) > 1 else None))
    many_nodes = asked is not None and asked.nodes > 1
    if run_id is None and (resume_or_start or (many_nodes and not dry_run and not slurm)):
        raise typer.BadParameter(f"{'--resume-or-start' if resume_or_start else '--nnodes'} needs --id")
    loaded = load_preset(preset, overrides or [])
    several = chosen_seeds(seeds, run_id, loaded)
    runs = runs_directory(runs_dir)
    takes = asked or Resources()
    words = [preset, *(overrides or [])]
    if dry_run or slurm:
        job = slurm or many_nodes
        print_dry_run(loaded, words, runs, run_id, takes, slurm=job, cost=cost, as_json=as_json)
        if several:
            say(f"[dim]once for each of the seeds {', '.join(map(str, several))}, each on a device of its own[/]")
        if missing := data_missing(loaded):
            say(f"[yellow]here it would not run:[/] {escape(str(missing))}")
        return
    if missing := data_missing(loaded):
        raise missing
    command = ["rbp", *sys.argv[1:]]
    pooled = bool(several) or gpus is not None
    seed = [f"seed={number}" for number in several[:1]]
    place = [] if runs_dir is None else ["--runs-dir", str(runs_dir)]
    given = Given((*words, *seed), tuple(place))

    def new() -> "list[RunDirectory]":
        if pooled:
            return start.submit(
                loaded, runs, several, takes, retries or 0, gpus=gpus or "auto", run_id=run_id, command=command
            )
        return [launch.create(loaded, runs, run_id=run_id, command=command, resources=takes)]

    if run_id is None or not (resume_or_start or many_nodes):
        made = new()
        if pooled:
            raise typer.Exit(follow_queued(made, detach=detach, as_json=as_json, given=given))
        raise typer.Exit(start_and_follow(made[0], detach=detach, as_json=as_json, retries=retries, given=given))
    run = find_or_make(loaded, runs, run_id, new)
    if judge(run).status == "completed":
        say(f"{run.id} is complete already")
        return
    if judge(run).status == "queued":  # by this command or an earlier one
        raise typer.Exit(follow_queued([run], detach=detach, as_json=as_json, given=given))
    # The node of an attempt before may have died without a word: it counts as live for half a minute.
    patience_s = LOST_AFTER_S + MARGIN_S
    try:
        code = start_and_follow(
            run,
            asked,
            detach=detach,
            as_json=as_json,
            gpus=gpus,
            retries=retries,
            inexact=inexact,
            patience_s=patience_s,
            given=given,
        )
    except NothingToStart as why:
        if not resume_or_start:
            raise
        say(escape(str(why)))  # somebody else was first, and it is being run
        code = report_start(run, as_json=as_json) if detach else 0
    raise typer.Exit(code)


def data_missing(loaded: "LoadedPreset") -> "DataMissing | None":
    """The error that says what data a preset lacks here; None where it is here, or is the user's own."""
    from rbp_engine.data.catalog import DataMissing, presence

    if "data.name" in loaded.own_code:
        return None
    found = presence(loaded.preset.data.name)
    return None if found.found else DataMissing(found)


def find_or_make(
    loaded: "LoadedPreset", runs: Path, run_id: str, new: Callable[[], "list[RunDirectory]"]
) -> "RunDirectory":
    """The run of that id, made if there is none; of several nodes that ask at once, one makes it.

    Raises RunError where it is another experiment or another seed.
    """
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.files.layout import RunDirectory, check_run_id
    from rbp_engine.run.launch import making

    check_run_id(run_id)
    run = RunDirectory(runs / run_id)
    deadline = time.monotonic() + making.UNTOUCHED_S + 5.0
    while making.is_half_made(run) or not run.run_json.is_file():
        try:
            return new()[0]
        except RunError:
            # Another node has just made it, or an earlier version may be making it.
            if not (run.run_json.is_file() or making.is_half_made(run)) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    _check_same(run, loaded)
    return run


def _check_same(run: "RunDirectory", loaded: "LoadedPreset") -> None:
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.files.summary import read_summary

    summary = read_summary(run)
    if summary is None:
        raise RunError(f"{run.id}: summary.json is missing or damaged")
    if summary.experiment != loaded.experiment:
        raise RunError(
            f"{run.id} is another experiment ({summary.label}, {summary.experiment[:8]} instead of "
            f"{loaded.experiment[:8]}): use another --id"
        )
    if summary.seed != loaded.preset.run.seed:
        raise RunError(f"{run.id} has seed {summary.seed}, not {loaded.preset.run.seed}: use another --id")
