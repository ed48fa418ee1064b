"""`rbp train`: start a run and follow it."""

import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_engine.errors import UserError
from rbp_engine.printable import visible
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch.environment import module_command
from rbp_tui.cli import completion
from rbp_tui.cli.options import (
    TRAIN,
    Detach,
    FromScratch,
    Gpus,
    Inexact,
    Json,
    Nnodes,
    Nproc,
    Rdzv,
    Retries,
    RunsDir,
    Seeds,
    given_options,
    refuse_others,
)
from rbp_tui.cli.output import print_json, print_lines, say
from rbp_tui.cli.runs.choice import find, weights_of
from rbp_tui.cli.settings_command import Like, OptionalPresetName, Settings, SettingsOrLikeCommand, request_for
from rbp_tui.cli.trust import Trust, once_trusted
from rbp_tui.text.styled import paragraph

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.request import LaunchRequest


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsOrLikeCommand,
        rich_help_panel=TRAIN,
        epilog="Examples:  rbp train digits   ·   rbp train cifar10-resnet18 T=6 method=bptt   ·   "
        "rbp train mine.toml --seeds 1,2,3 --detach",
    )(train)


def train(
    context: typer.Context,
    preset: OptionalPresetName,
    overrides: Settings = None,
    like: Like = None,
    same: Annotated[
        bool, typer.Option("--same", help="With --like: change nothing, and compare the two bit by bit at the end.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Choose the id of the run.", show_default=False)
    ] = None,
    resume_or_start: Annotated[
        bool, typer.Option("--resume-or-start", help="With --id: resume that run, or start it.")
    ] = False,
    pretrained: Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            metavar="FILE|RUN",
            help="Start from the weights in a file (safetensors, torch.save), or from a run's best.",
            show_default=False,
            autocompletion=completion.runs,
        ),
    ] = None,
    seeds: Seeds = None,
    gpus: Gpus = None,
    retries: Retries = None,
    detach: Detach = False,
    nproc: Nproc = None,
    nnodes: Nnodes = None,
    rdzv: Rdzv = None,
    inexact: Inexact = False,
    from_scratch: FromScratch = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print preset and command.")] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Check everything, print a Slurm job file that trains this.")
    ] = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Train a preset and follow it live.

    The run goes on if the terminal closes. Ctrl-C asks what to do.

    With --like, an earlier run is repeated, with the changes that are given; with --same as well, without any, and the
    exit code is 1 if a weight or a metric differs.

    With --seeds or --gpus, runs wait in a queue until each has its own device (rbp queue).

    Exit codes: 0 complete, 1 failed, 2 the preset is wrong, 3 data missing or damaged, 4 stopped before the end,
    5 preempted: start it again.
    """
    from rbp_engine.preset import load_preset
    from rbp_engine.preset.sweep.section import refuse_twice
    from rbp_engine.run import start
    from rbp_engine.run.errors import NothingToStart
    from rbp_engine.run.launch.slurm import RENDEZVOUS
    from rbp_engine.run.request import parse_seeds
    from rbp_engine.run.status.status import judge
    from rbp_tui.cli.train.following import follow_started, report_start, say_repeated

    if same:
        refuse_others(context, "--same", "like", "trust", "runs_dir", "as_json")
        if like is None:
            raise typer.BadParameter("--same needs --like RUN: the run to train again")
        from rbp_tui.cli.train.same import train_the_same

        raise typer.Exit(train_the_same(find(like, runs_dir), trust=trust, as_json=as_json))
    if slurm and seeds is not None:
        raise typer.BadParameter("--slurm writes the job file of one run, and --seeds makes several")
    if (slurm or dry_run) and detach:
        only = "--slurm only prints a job file" if slurm else "--dry-run starts nothing"
        raise typer.BadParameter(f"{only}, and --detach starts a run: leave one of them out")
    base, words = request_for(preset, like, overrides, runs_dir)
    if pretrained is not None:
        words = (*words, f"model.pretrained={weights_of(pretrained, runs_dir)}")
        refuse_twice(words)
    options = given_options(
        gpus=gpus,
        retries=retries,
        nproc=nproc,
        nnodes=nnodes,
        rdzv=rdzv,
        inexact=inexact,
        from_scratch=from_scratch,
        meet=RENDEZVOUS if slurm else "",
    )
    request = replace(
        base,
        overrides=words,
        options=options.over(base.options),
        seeds=() if seeds is None else parse_seeds(seeds),
        run_id=run_id,
        resume_or_start=resume_or_start,
        typed=("rbp", *sys.argv[1:]),
    )
    many_nodes = request.options.takes.nodes > 1
    if run_id is None and (resume_or_start or (many_nodes and not dry_run and not slurm)):
        raise typer.BadParameter(f"{'--resume-or-start' if resume_or_start else '--nnodes'} needs --id")
    if like is None and load_preset(request.preset, request.overrides).sweep is not None:
        say("[dim]this trains it once: rbp sweep {} trains all that its {} says[/]", request.preset, "[sweep]")
    if dry_run or slurm:
        loaded = request.load()
        _print_dry_run(request, loaded, slurm=slurm or many_nodes, as_json=as_json)
        try:
            start.check(request, loaded)
        except UserError as why:
            say("[yellow]here it would not run:[/] {}", paragraph(str(why)))
        return
    try:
        started = once_trusted(lambda: start.start_runs(request), trust=trust)
    except NothingToStart as why:
        if not resume_or_start:
            raise
        say("{}", why)  # another process was first and is running it
        raise typer.Exit(
            report_start(RunDirectory(request.options.runs / (run_id or "")), as_json=as_json) if detach else 0
        ) from None
    if started.worker is None and judge(started.runs[0]).status == "completed":
        say("{} is complete already", started.runs[0].id)
        raise typer.Exit(report_start(started.runs[0], as_json=as_json) if detach else 0)
    if not (resume_or_start or many_nodes):
        say_repeated(started.runs)
    raise typer.Exit(follow_started(started, detach=detach, as_json=as_json, request=request))


def _print_dry_run(request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool, as_json: bool) -> None:
    """Print preset and command of a request, or with `slurm` a job file; `loaded` is its preset."""
    from rbp_engine.preset import resolved_toml
    from rbp_engine.run import start
    from rbp_engine.run.launch.slurm import train_file
    from rbp_engine.run.launch.torchrun import worker_command

    run = start.directory_of(request, loaded)
    command = worker_command(run, request.options.takes)
    output: dict[str, Any] = {"preset": loaded.preset.model_dump(mode="json"), "command": command}
    if slurm:
        output["job_file"] = train_file(request, loaded, run, module_command("rbp_tui"))
    if as_json:
        print_json(output)
        return
    print_lines(visible(output["job_file"] if slurm else resolved_toml(loaded.preset)))
    say("[dim]would run:[/] {}", shlex.join(command))
    if request.seeds:
        say("[dim]once for each of the seeds {}, each on a device of its own[/]", ", ".join(map(str, request.seeds)))
