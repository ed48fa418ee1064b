"""`rbp eval`: the paper's checks on the weights of a run."""

import json
import os
import subprocess
from enum import StrEnum
from typing import Annotated, Any

import typer

from rbp_engine.printable import one_line
from rbp_tui.cli import completion
from rbp_tui.cli.options import Json, RunsDir
from rbp_tui.cli.output import fail, print_json, print_rich, say
from rbp_tui.cli.runs.choice import TrainedRun
from rbp_tui.cli.trust import Trust, once_trusted


class Weights(StrEnum):
    LAST = "last"
    BEST = "best"


def register(app: typer.Typer) -> None:
    app.command("eval", epilog="Example:  rbp eval last --timesteps 1,2,4,8   ·   rbp eval 3f2a --shuffle-time")(
        evaluate
    )


def evaluate(
    run: TrainedRun,
    weights: Annotated[Weights, typer.Option(help="Weights of the last or of the best epoch.")] = Weights.LAST,
    timesteps: Annotated[
        str, typer.Option(metavar="T,T,…", help="Numbers of timesteps to test at; the trained one if left out.")
    ] = "",
    shuffle_time: Annotated[
        bool, typer.Option("--shuffle-time", help="Shuffle the inputs of every layer in time; a rate code survives it.")
    ] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Compare the gradients of the methods with that of BPTT; no accuracy.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", autocompletion=completion.devices)] = "auto",
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Evaluate the weights of a run: accuracy at every t up to T, at other T, shuffled in time, or its gradients."""
    if gradients and shuffle_time:
        raise typer.BadParameter("gradients are compared with time in its order", param_hint="--shuffle-time")
    from rbp_engine.run.launch.environment import module_command, worker_defaults
    from rbp_engine.run.store.store import find_run
    from rbp_engine.run.trust import require_code
    from rbp_engine.settings.machine import runs_directory

    directory = find_run(runs_directory(runs_dir), run)
    once_trusted(lambda: require_code(directory), trust=trust)
    words = [str(directory.path), "--weights", weights.value, "--device", device]
    words += ["--shuffle-time"] if shuffle_time else []
    words += ["--gradients"] if gradients else []
    if timesteps:
        words += ["--timesteps", *(str(steps) for steps in _numbers(timesteps))]
    done = subprocess.run(
        module_command("rbp_engine.evaluation", *words),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=worker_defaults() | os.environ,
    )
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"problem": "the evaluation was interrupted"}
    if done.returncode:
        raise typer.Exit(fail(answer["problem"], 1))
    if as_json:
        print_json(answer["results"])
    elif gradients:
        _print_gradients(answer["results"])
    else:
        _print_accuracies(answer["results"], shuffled=shuffle_time)


def _print_accuracies(results: list[dict[str, Any]], *, shuffled: bool) -> None:
    from rich.table import Column, Table

    from rbp_tui.text import format as fmt

    numbers = [Column(heading, justify="right") for heading in ("T", "top-1 %", "top-5 %", "loss")]
    table = Table(*numbers, "top-1 % after each step", box=None, pad_edge=False, header_style="dim")
    for result in results:
        by_step = " ".join(fmt.percent(top1) for top1 in result["top1_by_step"])
        accuracies = [fmt.percent(result["top1"]), fmt.percent(result["top5"])]
        table.add_row(str(result["timesteps"]), *accuracies, fmt.number(result["loss"]), by_step)
    known = [results[0][name] for name in ("samples", "split", "weights", "run")]
    say("[dim]{} {} images, {} weights of {}{}[/]", *known, ", every layer's inputs shuffled in time" * shuffled)
    print_rich(table)


def _print_gradients(results: list[dict[str, Any]]) -> None:
    from rich.table import Column, Table

    from rbp_tui.text import format as fmt

    numbers = [Column(heading, justify="right") for heading in ("T", "cosine", "norm ratio", "lowest cosine")]
    table = Table("method", *numbers, "at the weights of", box=None, pad_edge=False, header_style="dim")
    for result in results:
        cosines = {name: one["cosine"] for name, one in result["by_weight"].items() if one["cosine"] is not None}
        lowest = min(cosines, key=lambda name: cosines[name], default="")
        shown = [fmt.number(number) for number in (result["cosine"], result["norm_ratio"], cosines.get(lowest))]
        table.add_row(fmt.method(result["method"]), str(result["timesteps"]), *shown, one_line(lowest))
    known = [results[0][name] for name in ("samples", "weights", "run")]
    say("[dim]gradients against BPTT's, {} test images, {} weights of {}[/]", *known)
    print_rich(table)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise typer.BadParameter(f"expected numbers such as 1,2,4, got {text!r}", param_hint="--timesteps")
    return numbers
