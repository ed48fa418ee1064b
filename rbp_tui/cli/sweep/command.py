"""`rbp sweep`: what is missing of a sweep is created, what has stopped is resumed, and all of it is followed."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.options import Detach, Gpus, Json, Nproc, Retries, RunsDir, Seeds, given_resources
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.runs.choice import find
from rbp_tui.cli.settings_command import Like, OptionalPresetName, SettingsOrLikeCommand
from rbp_tui.cli.trust import Trust, once_trusted, warn_of_shared_presets

if TYPE_CHECKING:
    from rbp_engine.run.errors import RunError
    from rbp_engine.run.request import LaunchRequest
    from rbp_engine.sweep.estimate import Estimate
    from rbp_engine.sweep.plan import SweepPlan
    from rbp_engine.sweep.states import PointState


def register(app: typer.Typer) -> None:
    app.command(
        cls=SettingsOrLikeCommand,
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
            autocompletion=completion.varied_settings,
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
            autocompletion=completion.searches,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", metavar="N", min=1, help="With --search: how many trials; else 20.", show_default=False
        ),
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            "--prune",
            metavar="median|hyperband",
            help="With --search: stop trials that do worse than others at the same epoch.",
            show_default=False,
            autocompletion=completion.pruners,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="last|best",
            help="With --search: look for the top-1 of the last epoch, or of the best; else the last.",
            show_default=False,
            autocompletion=completion.objectives,
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
        typer.Option("--no-cost", help="Do not measure what is missing, some seconds for each setting."),
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

    A run counts if all of its settings, its code and its seed are the same, whatever started it.

    Exit codes: 0 all are done, 1 one has failed, 2 the preset is wrong, 3 data missing, 4 stopped before the end;
    with --point, 5 preempted: start it again.
    """
    from rbp_engine.run.request import LaunchRequest, parse_seeds
    from rbp_engine.sweep.array import point_named
    from rbp_engine.sweep.plan import plan_sweep
    from rbp_engine.sweep.search import search_request
    from rbp_engine.sweep.start import check
    from rbp_engine.sweep.states import states_of
    from rbp_engine.sweep.words import parse_words
    from rbp_tui.cli.sweep.array import print_array, train_point
    from rbp_tui.cli.sweep.cost import estimate_of
    from rbp_tui.cli.sweep.search import run_search
    from rbp_tui.cli.sweep.text import say_cost, say_plan

    words = tuple(settings or ())
    if like is not None:
        if preset is not None and "=" not in preset:
            raise typer.BadParameter(f"--like {like} takes the place of the preset {preset}: leave one of them out")
        base = LaunchRequest.like(find(like, runs_dir))
        words = (preset, *words) if preset else words
    else:
        assert preset is not None  # SettingsOrLikeCommand requires it
        warn_of_shared_presets(preset)
        base = LaunchRequest(preset, runs_dir=runs_dir)
    request = replace(
        base,
        seeds=() if seeds is None else parse_seeds(seeds),
        resources=given_resources(nproc, None, None) or base.resources,
        gpus=base.gpus if gpus is None else gpus,
        retries=base.retries if retries is None else retries,
        typed=("rbp", *sys.argv[1:]),
    )
    if search is not None or (random is None and _has_search(request, words)):
        if random is not None:
            raise typer.BadParameter("--random draws all values beforehand, and --search chooses them: leave one out")
        if slurm or point is not None:
            raise typer.BadParameter("a search chooses its runs one by one, and a job array needs them beforehand")
        asked = search_request(
            request,
            words,
            search=search or "",
            trials=trials,
            pruner=prune or "",
            objective=objective or "",
            name=name,
            retry_failed=retry_failed,
        )
        estimates = functools.partial(estimate_of, measure=not no_cost)
        raise typer.Exit(
            run_search(asked, estimates, status=status, dry_run=dry_run, detach=detach, trust=trust, as_json=as_json)
        )
    for option, value in (("--trials", trials), ("--prune", prune), ("--objective", objective)):
        if value is not None:
            raise typer.BadParameter(f"{option} belongs to a search: --search tpe")
    plan = plan_sweep(request, parse_words(words), trials=random, name=name)
    if point is not None:
        plan = point_named(plan, point)
    states = states_of(plan, retry_failed=retry_failed)
    if status:
        _show(plan, states, as_json=as_json)
        return
    if point is not None:
        raise typer.Exit(train_point(plan, states[0], as_json=as_json, trust=trust))
    if slurm:
        options = {"--seeds": seeds, "--random": random, "--name": name, "--nproc": nproc, "--retries": retries}
        given = [word for option, value in options.items() if value for word in (option, str(value))]
        typed = [*(["--like", like] if like else [request.preset]), *words, *given]
        print_array(plan, states, [*typed, *(["--retry-failed"] if retry_failed else [])])
        return
    if not dry_run:
        once_trusted(lambda: check(plan), trust=trust)
    say_plan(plan, states)
    expected = estimate_of(plan, states, measure=not no_cost)
    if expected is not None:
        say_cost(expected)
    if dry_run and as_json:
        print_json(_document(plan, states, expected))
    if not dry_run:
        raise typer.Exit(_train(plan, states, detach=detach, as_json=as_json, trust=trust))


def _has_search(request: "LaunchRequest", words: Sequence[str]) -> bool:
    """Whether [sweep] of the preset is a search. Raises UserError if the preset is invalid."""
    from rbp_engine.sweep.words import parse_words

    section = replace(request, overrides=parse_words(words).fixed, seeds=()).load().sweep
    return section is not None and bool(section.search)


def _train(plan: "SweepPlan", states: "Sequence[PointState]", *, detach: bool, as_json: bool, trust: bool) -> int:
    """Start what is missing, follow it to the end, and print the table; the exit code."""
    from rbp_engine.sweep.start import start_points
    from rbp_engine.sweep.states import states_of
    from rbp_tui.cli.sweep.following import follow_sweep
    from rbp_tui.cli.train.following import report_queued

    def left_out(refused: "RunError") -> None:
        say("[yellow]not resumed:[/] {}", refused)

    runs = once_trusted(lambda: start_points(plan, states, left_out), trust=trust)
    if detach and (runs or as_json):
        return report_queued(runs, as_json=as_json)
    follow_sweep(plan, states, runs, as_json=as_json)
    states = states_of(plan)
    if not as_json:
        _show(plan, states, as_json=False)
    return _exit_code(states)


def _exit_code(states: "Sequence[PointState]") -> int:
    """The worst of the runs: a failure is worse than an end before the end."""
    from rbp_engine.sweep.states import Standing

    codes = {Standing.DONE: 0, Standing.FAILED: 1}
    return max((codes.get(state.standing, 4) for state in states), key=(0, 4, 1).index)


def _show(plan: "SweepPlan", states: "Sequence[PointState]", *, as_json: bool) -> None:
    from rbp_tui.cli.sweep.text import print_table

    if as_json:
        print_json(_document(plan, states, None))
    else:
        print_table(plan, states)


def _document(plan: "SweepPlan", states: "Sequence[PointState]", expected: "Estimate | None") -> dict[str, Any]:
    from rbp_engine.report.sweep_table import best_row, plain_row, sweep_rows
    from rbp_engine.sweep.states import counts

    rows = sweep_rows(plan, states)
    best = best_row(rows)
    return {
        "sweep": plan.name,
        "runs": len(plan.points),
        "counts": counts(states),
        "keys": plan.keys,
        "best_trial": None if best is None else best.trial,
        "cost": None if expected is None else asdict(expected),
        "trials": [plain_row(row) for row in rows],
    }
