"""`rbp show` and `rbp compare`: what is known of runs, and how they differ."""

from typing import Annotated, Any

import typer

from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli import completion
from rbp_tui.cli.options import JUDGE, LOOK, Json, Margin, RunsDir
from rbp_tui.cli.output import console, print_json, print_rich, say
from rbp_tui.cli.runs.choice import Runs, find, for_each, select
from rbp_tui.text.styled import styled


def register(app: typer.Typer) -> None:
    app.command(
        rich_help_panel=LOOK,
        epilog="Examples:  rbp show last   ·   rbp show age<1d --why   ·   rbp show 3f2a --layers --epoch 10",
    )(show)
    app.command(
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp compare 3f2a 9c01   ·   rbp compare data=digits T=4 --baseline 9c01",
    )(compare)


def show(
    runs: Runs,
    why: Annotated[
        bool, typer.Option("--why", help="How it has ended and why, what its events say about that, the next step.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="What probes have measured of each layer: firing rates, health, gradients.")
    ] = False,
    epoch: Annotated[
        float | None,
        typer.Option(metavar="E", help="With --layers: the samples nearest to this epoch.", show_default=False),
    ] = None,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Everything about a run: status and why, progress, last and best, alarms, findings, attempts, its origin.

    Rules that find faults, and their limits, are in docs/inside-the-network.md.
    """
    if why and layers:
        raise typer.BadParameter("--why and --layers are two views: leave one of them out")
    if epoch is not None and not layers:
        raise typer.BadParameter("--epoch needs --layers: it chooses among their samples")
    from rbp_tui.cli.runs import show_view

    chosen = select(runs, runs_dir)

    def view(run: RunDirectory) -> dict[str, Any]:
        if run != chosen[0] and not as_json:
            print_rich("")
        if layers:
            return show_view.layers(run, epoch, as_json=as_json)
        return (show_view.why if why else show_view.everything)(run, as_json=as_json)

    for_each(chosen, view, as_json=as_json, alone=len(chosen) == 1 and not why)


def compare(
    runs: Runs,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Whose experiment the others are measured against; else the first completed RUN's, or the first's.",
            autocompletion=completion.runs,
        ),
    ] = None,
    each_run: Annotated[bool, typer.Option("--each-run", help="A line for each run, not for each experiment.")] = False,
    margin: Margin = None,
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

    if each_run and margin:
        raise typer.BadParameter("--each-run and --margin: what is judged is the difference over seeds")
    against = find(baseline, runs_dir) if baseline else None
    found = compared(select(runs, runs_dir, archived=True), against, each_run=each_run, margin=margin)
    directories = {one.run.id: one.run for group in found.groups for one in group.runs}
    curves = {run_id: read_top1(run) for run_id, run in directories.items()} if len(found.groups) > 1 else {}
    equal = equal_cost(found, curves.get)
    if as_json:
        print_json(comparison_plain(found) | {"equal_cost": equal_cost_plain(equal) if equal.seconds else None})
        return
    if found.groups:
        say("[dim]◆ baseline:[/] {}", found.baseline_title)
        print_rich(comparison_text(found, console().width).whole)
    if equal.seconds:
        print_rich(styled("\n[bold]at equal cost[/]"))
        print_rich(equal_cost_text(found, equal, console().width).whole)
    for run in found.excluded:
        say("[dim]left out {}:[/] {}", run.id, run.reason)
