"""`rbp export`: a trained network for other programs and for chips."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rbp_engine.run.launch.environment import module_command, worker_defaults
from rbp_tui.cli.command_group import CommandGroup, Typer
from rbp_tui.cli.options import KEEP, Json, RunsDir, Weights
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.progress import end_on_sigterm
from rbp_tui.cli.runs.choice import Run, find_network
from rbp_tui.cli.trust import Trust
from rbp_tui.text import format as fmt


def register(app: typer.Typer) -> None:
    group = Typer(cls=CommandGroup, name="export", help="Write a trained network for other programs and for chips.")
    group.command("nir", epilog="Example:  rbp export nir last   ·   rbp export nir 3f2a net.nir --dt 0.001")(nir)
    # Without a callback Typer would make a group of one command that command.
    group.callback()(lambda: None)
    app.add_typer(group, rich_help_panel=KEEP)


def nir(
    run: Run,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file; RUN.nir here if left out.", show_default=False)
    ] = None,
    weights: Weights = "best",
    dt: Annotated[
        float, typer.Option(metavar="S", help="Seconds of a timestep; the program that reads the file needs the same.")
    ] = 1e-4,
    soft_reset_as_metadata: Annotated[
        bool,
        typer.Option(
            "--soft-reset-as-metadata",
            help="Write a network of soft reset, which NIR has not, and say so in the metadata only.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Write the network of a run as a file of NIR (neuroir.org), checked against the network spike by spike.

    The neurons need a hard reset (neuron.reset=hard) and a decay above 0. Batch norms are folded into the layers before
    them, and what else has no node in NIR is named and refused. See docs/export.md.
    """
    if not 0.0 < dt < float("inf"):
        raise typer.BadParameter(f"expected seconds above 0, got {dt}", param_hint="--dt")
    from rbp_engine import child

    directory = find_network(run, runs_dir, trust=trust)
    target = file or Path(f"{directory.id}.nir")
    settings = {"weights": weights, "dt": dt, "soft_reset_as_metadata": soft_reset_as_metadata, "force": force}
    words = [str(directory.path.resolve()), str(target.absolute()), json.dumps(settings)]
    end_on_sigterm()
    answer = child.ask(module_command("rbp_engine.export", *words), worker_defaults() | os.environ, what="the export")
    if as_json:
        print_json(answer)
    else:
        _print_export(target, answer)


def _print_export(target: Path, exported: dict[str, Any]) -> None:
    nodes = ", ".join(f"{count} {kind}" for kind, count in sorted(exported["nodes"].items()))
    size = fmt.size(exported["bytes"])
    say("wrote {} ({}): {} weights of {}", target, size, exported["weights"], exported["run"])
    say("[dim]nodes[/]    {}", nodes)
    if folded := _folded(exported):
        say("[dim]folded[/]   {}", folded)
    spikes, predictions = exported["spikes"], exported["predictions"]
    say(
        "[dim]checked[/]  {} test images, T = {}: {} spikes in float64, {} differ; with the file, in float32, {} of {} "
        "predictions are the run's, and logits differ by at most {}",
        predictions["images"],
        exported["timesteps"],
        f"{spikes['spikes']:,}",
        f"{spikes['differ']:,}",
        predictions["same"],
        predictions["images"],
        f"{predictions['largest_difference']:.1e}",
    )
    say(
        "[dim]to read[/]  dt = {} s; the prediction is the mean of the output over {} steps",
        exported["dt"],
        exported["timesteps"],
    )
    if exported["soft_reset"]:
        say(
            "[yellow]warning[/] the soft reset is in the metadata only: a program that does not look there returns "
            "membranes to 0 after a spike, and runs another network"
        )


def _folded(exported: dict[str, Any]) -> str:
    parts = []
    if count := exported["batch_norms"]:
        parts.append(f"{fmt.counted(count, 'batch norm')} into the layer before")
    if count := exported["poolings"]:
        parts.append(f"{fmt.counted(count, 'average pooling')} into the linear layer after")
    return "; ".join(parts)
