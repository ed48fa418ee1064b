"""`rbp eval`: what the weights of a run can do, and what they withstand."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rbp_engine.codec import convert
from rbp_engine.printable import one_line
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.options import JUDGE, MORE, Json, RunsDir, Weights
from rbp_tui.cli.output import fail, print_json, print_rich, say
from rbp_tui.cli.progress import progress
from rbp_tui.cli.runs.choice import Run, find_network
from rbp_tui.cli.trust import Trust
from rbp_tui.text import format as fmt


class What(StrEnum):
    ENERGY = "energy"
    ROBUSTNESS = "robustness"
    GRADIENTS = "gradients"
    CLASSES = "classes"


def register(app: typer.Typer) -> None:
    app.command(
        "eval",
        rich_help_panel=JUDGE,
        epilog="Examples:  rbp eval last --timesteps 1,2,4,8   ·   rbp eval 3f2a robustness classes   ·   "
        "rbp eval 3f2a --figure mistakes.pdf",
    )(evaluate)


def evaluate(
    run: Run,
    what: Annotated[
        list[What] | None,
        typer.Argument(
            metavar="WHAT",
            help="energy, robustness, gradients, classes, or several of them; else the accuracy.",
            show_default=False,
        ),
    ] = None,
    weights: Weights = "last",
    ema: Annotated[bool, typer.Option("--ema", help="The moving average of these weights, of runs with train.ema.")] = (
        False
    ),
    timesteps: Annotated[
        str, typer.Option(metavar="T,T,…", help="Numbers of timesteps to test at; else the trained one.")
    ] = "",
    shuffle_time: Annotated[
        bool, typer.Option("--shuffle-time", help="Shuffle the inputs of every layer in time; a rate code survives it.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw classes: .pdf, .png or .svg.", show_default=False)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=MORE,
            help="Save those of each image, and logits: .npz.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(rich_help_panel=MORE, help="auto, cpu, cuda or cuda:N.")] = "auto",
    trust: Trust = False,
    runs_dir: RunsDir = None,
    as_json: Json = False,
) -> None:
    """Evaluate a run on the test set: accuracy at every t up to T, and at other T.

    energy counts operations and energy of an image by layer. robustness tries other T, shuffled time, noise and
    timesteps without input. gradients compares those of the methods with BPTT's. classes has the accuracy by class, the
    confusion matrix and the worst mistakes.

    Robustness, classes and energy are kept in the run, and the dashboard shows them.
    """
    drawn = [What.CLASSES] if figure is not None or predictions is not None else []
    parts = list(dict.fromkeys([*(what or []), *drawn]))
    steps = _numbers(timesteps) if timesteps else []
    _refuse_contradictions(parts, steps, ema=ema, shuffle_time=shuffle_time)
    from rbp_engine.evaluation.evaluation_request import EvaluationRequest, evaluate_run

    directory = find_network(run, runs_dir, trust=trust)
    request = EvaluationRequest(
        [part.value for part in parts] or ["accuracy"],
        weights,
        ema=ema,
        device=device,
        timesteps=steps,
        shuffle_time=shuffle_time,
        figure=str(figure or ""),
        predictions=str(predictions or ""),
    )
    with progress(f"evaluating the {'averaged ' * ema}{weights} weights of {directory.id}") as report:
        answer = evaluate_run(directory, request, on_progress=report)
    if as_json:
        print_json(answer if len(answer) > 1 else next(iter(answer.values())))
    else:
        _print_answer(directory, answer, shuffled=shuffle_time)
    unwritten = answer.get("unwritten", {})
    for name, problem in unwritten.items():
        if problem:
            fail(problem, 1)
        elif not as_json:
            say("wrote {}", {"figure": figure, "predictions": predictions}[name])
    raise typer.Exit(1 if any(unwritten.values()) else 0)


def _refuse_contradictions(parts: Sequence[What], steps: Sequence[int], *, ema: bool, shuffle_time: bool) -> None:
    if What.ENERGY in parts and (ema or steps):
        raise typer.BadParameter("energy is measured at the trained number of timesteps: leave out --ema, --timesteps")
    if parts and shuffle_time:
        raise typer.BadParameter(f"--shuffle-time is for the accuracy alone, and changes nothing of {parts[0]}")
    if What.CLASSES in parts and What.ROBUSTNESS not in parts and len(steps) > 1:
        raise typer.BadParameter("classes are counted at one T", param_hint="--timesteps")


def _print_answer(run: RunDirectory, answer: dict[str, Any], *, shuffled: bool) -> None:
    if "gradients" in answer:
        _print_gradients(answer["gradients"])
    if "energy" in answer:
        _print_energy(run, answer["energy"])
    if "accuracy" in answer:
        _print_accuracies(answer["accuracy"], shuffled=shuffled)
    if "saved" in answer:
        _print_parts(answer)


def _print_accuracies(results: list[dict[str, Any]], *, shuffled: bool) -> None:
    from rbp_tui.text.evaluation_text import accuracy_table

    known = [results[0][name] for name in ("samples", "split", "weights", "run")]
    say("[dim]{} {} images, {} weights of {}{}[/]", *known, ", every layer's inputs shuffled in time" * shuffled)
    print_rich(accuracy_table(results))


def _print_parts(answer: dict[str, Any]) -> None:
    """Print what is saved in the run, as its readers see it."""
    from rbp_engine.run.files.evaluation_json import Evaluation
    from rbp_tui.text.evaluation_text import evaluation_columns

    for column in evaluation_columns(convert(Evaluation, answer)):
        print_rich("")
        print_rich(column)
    if answer["saved"]:
        say("[dim]kept in the run; the dashboard shows it on its screen Network[/]")
    else:
        say("[yellow]not kept in the run: {}[/]", answer["kept"])


def _print_energy(run: RunDirectory, answer: dict[str, Any]) -> None:
    """Print what an image costs, and whether the run keeps it."""
    from rbp_engine.run.files.energy import Energy
    from rbp_tui.charts.energy_rows import energy_report
    from rbp_tui.text import energy_text

    energy = convert(Energy, answer)
    say("[dim]{} weights of {}, {}[/]", answer["weights"], run.id, energy_text.notes(energy))
    print_rich(energy_report(energy))
    if answer.get("kept"):
        say("[yellow]it is not kept in the run: {}[/]", answer["kept"])


def _print_gradients(results: list[dict[str, Any]]) -> None:
    from rbp_tui.text.text_table import empty_table

    table = empty_table(["method"], ["T", "cosine", "norm ratio"])
    for heading in ("lowest\ncosine", "largest\nweight error", "largest\nneuron error"):
        table.add_column(heading)
    for result in results:
        by_weight = result["by_weight"].items()
        shown = [fmt.number(result[name]) for name in ("cosine", "norm_ratio")]
        shown += [
            _extreme(min, {name: one["cosine"] for name, one in by_weight}),
            _extreme(max, {name: one["error"] for name, one in by_weight}),
            _extreme(max, result["neuron_error"]),
        ]
        table.add_row(fmt.method(result["method"]), str(result["timesteps"]), *shown)
    known = [results[0][name] for name in ("samples", "weights", "run")]
    say("[dim]gradients against BPTT's, without the factor 1/T, {} test images, {} weights of {}[/]", *known)
    print_rich(table)


def _extreme(choose: Callable[..., str], by_layer: dict[str, float | None]) -> str:
    """The lowest or the highest value that is known, and its layer, if it is another than in the others."""
    known = {name: value for name, value in by_layer.items() if value is not None}
    name = choose(known, key=lambda name: known[name], default="")
    value = fmt.number(known.get(name))
    if len({fmt.number(other) for other in known.values()}) < 2:
        return value
    return f"{value} ({one_line(name)})"


def _numbers(text: str) -> list[int]:
    from rbp_engine.preset.sections.base import MOST_STEPS

    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or max(numbers) > MOST_STEPS:
        expected = f"numbers from 1 to {MOST_STEPS}, such as 1,2,4"
        raise typer.BadParameter(f"expected {expected}, got {text!r}", param_hint="--timesteps")
    return numbers
