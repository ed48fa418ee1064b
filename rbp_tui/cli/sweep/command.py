"""`rbp sweep`: its options, and which of them go together."""

import functools
import sys
from dataclasses import replace
from typing import Annotated

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.options import MORE, TRAIN, Detach, Gpus, Json, Nproc, Retries, RunsDir, Seeds, given_options
from rbp_tui.cli.settings_command import Like, OptionalPresetName, SettingsOrLikeCommand, request_for
from rbp_tui.cli.trust import Trust


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsOrLikeCommand,
        rich_help_panel=TRAIN,
        epilog="Examples:  rbp sweep digits method=bptt,rate_m T=2,4,6 --seeds 1,2,3   ·   rbp sweep digits-sweep   "
        "·   rbp sweep digits lr=0.01..0.5:log --random 20   ·   rbp sweep digits lr=0.01..0.5:log T=2..6 --search tpe",
    )(sweep)


def sweep(
    preset: OptionalPresetName,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=A,B",
            help="Settings with several values, of which every combination is trained; with one value: for all runs.",
            show_default=False,
            autocompletion=completion.settings,
        ),
    ] = None,
    like: Like = None,
    seeds: Seeds = None,
    random: Annotated[
        int | None,
        typer.Option(
            "--random",
            metavar="N",
            min=1,
            help="Draw N values of each setting with a range, as lr=0.01..0.5:log.",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="tpe",
            help="Choose the values one trial after the other, by what earlier ones have reached (Optuna).",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            metavar="N",
            min=1,
            rich_help_panel=MORE,
            help="With --search: how many trials; else 20.",
            show_default=False,
        ),
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            "--prune",
            metavar="median",
            rich_help_panel=MORE,
            help="With --search: stop trials that do worse than others at the same epoch.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="What queries find its runs by, as sweep=NAME.",
            show_default=False,
        ),
    ] = "",
    status: Annotated[bool, typer.Option("--status", help="Only show the table of settings and results.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is missing and what it costs.")] = False,
    no_cost: Annotated[
        bool,
        typer.Option(
            "--no-cost", rich_help_panel=MORE, help="Do not measure what is missing, some seconds for each setting."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Resume failed runs, too, which else count as done.")
    ] = False,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Print a Slurm job file: an array with a task for each run that is left.")
    ] = False,
    point: Annotated[
        str | None,
        typer.Option(
            "--point",
            metavar="ID",
            rich_help_panel=MORE,
            help="Train one run at once, without the queue; the tasks of a job array do this.",
            show_default=False,
        ),
    ] = None,
    gpus: Gpus = None,
    retries: Retries = None,
    nproc: Nproc = None,
    detach: Detach = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Train every combination of settings with every seed, and add only what is missing.

    What to vary is typed, or is in the section sweep of the preset. The same command continues after any interruption.

    A run counts if it trains the same with the same code and seed, whatever started it.

    Exit codes: 0 all are done, 1 one has failed, 2 the preset is wrong, 3 data missing, 4 stopped before the end;
    with --point, 5 preempted: start it again.
    """
    from rbp_engine.plan.points import plan_sweep
    from rbp_engine.plan.request import SweepRequest
    from rbp_engine.plan.start import point_named
    from rbp_engine.plan.states import states_of
    from rbp_engine.run.request import parse_seeds
    from rbp_tui.cli.sweep.array import print_array, train_point
    from rbp_tui.cli.sweep.cost import estimate_of
    from rbp_tui.cli.sweep.plan import run_plan, show_plan
    from rbp_tui.cli.sweep.search import run_search

    instead = {"--status": status, "--dry-run": dry_run, "--slurm": slurm, "--point": point is not None}
    asked_for = [option for option, given in {**instead, "--detach": detach}.items() if given]
    if len(asked_for) > 1:
        raise typer.BadParameter(f"{' and '.join(asked_for)} do different things: leave all but one of them out")
    base, words = request_for(preset, like, settings, runs_dir)
    asked = SweepRequest(
        replace(
            base,
            overrides=words,
            seeds=() if seeds is None else parse_seeds(seeds),
            options=given_options(gpus=gpus, retries=retries, nproc=nproc).over(base.options),
            typed=("rbp", *sys.argv[1:]),
        ),
        draws=random,
        search=search or "",
        trials=trials,
        pruner=prune or "",
        name=name,
        retry_failed=retry_failed,
    )
    if asked.searches:
        if random is not None:
            raise typer.BadParameter("--random draws all values beforehand, and --search chooses them: leave one out")
        if slurm or point is not None:
            raise typer.BadParameter("a search chooses its runs one by one, and a job array needs them beforehand")
        estimates = functools.partial(estimate_of, measure=not no_cost)
        raise typer.Exit(
            run_search(asked, estimates, status=status, dry_run=dry_run, detach=detach, trust=trust, as_json=as_json)
        )
    for option, value in (("--trials", trials), ("--prune", prune)):
        if value is not None:
            raise typer.BadParameter(f"{option} belongs to a search: --search tpe")
    plan = plan_sweep(asked)
    if point is not None:
        plan = point_named(plan, point)
    states = states_of(plan, retry_failed=retry_failed)
    if status:
        show_plan(plan, states, as_json=as_json)
        return
    if point is not None:
        raise typer.Exit(train_point(plan, states[0], as_json=as_json, trust=trust))
    if slurm:
        print_array(asked, plan, states)
        return
    raise typer.Exit(
        run_plan(plan, states, measure=not no_cost, dry_run=dry_run, detach=detach, trust=trust, as_json=as_json)
    )
