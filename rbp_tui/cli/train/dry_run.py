"""What `rbp train` would do, without doing it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_engine.printable import one_line, visible
from rbp_tui.cli.output import print_json, print_line, print_lines, say

if TYPE_CHECKING:
    from rbp_engine.bench.cost import Cost
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.request import LaunchRequest


def print_dry_run(
    request: "LaunchRequest", presets: "Sequence[LoadedPreset]", *, slurm: bool, cost: bool = False, as_json: bool
) -> None:
    """Print preset and command of a request, or with `slurm` a job file; with a pair, for each of its values.

    `presets` are those of the request. `cost` adds the cost of one process; measuring it takes as long as `rbp cost`.
    """
    from dataclasses import asdict

    from rbp_tui.cli.measure.cost import measure

    outputs, words = [], request.pair.words if request.pair else ("",)
    for word, one, loaded in zip(words, request.each(), presets, strict=True):
        output = _output(one, loaded, slurm=slurm)
        predicted = measure(loaded) if cost else None
        if predicted is not None:
            output["cost"] = asdict(predicted)
        outputs.append({"pair": word, "seeds": list(request.seeds_of(loaded))} | output if word else output)
        if not as_json:
            _print_one(word, one, loaded, output, predicted)
    if as_json:
        print_json(outputs if request.pair else outputs[0])
    elif request.pair or request.seeds:
        seeds = ", ".join(map(str, request.seeds_of(presets[0])))
        runs = f"{len(presets)} runs" if request.pair else "once"
        say("[dim]{} for each of the seeds {}, each on a device of its own[/]", runs, seeds)


def _output(request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool) -> dict[str, Any]:
    from rbp_engine.run import start
    from rbp_engine.run.launch.environment import module_command
    from rbp_engine.run.launch.slurm import train_file

    run = start.directory_of(request, loaded)
    output: dict[str, Any] = {
        "preset": loaded.preset.model_dump(mode="json"),
        "command": start.worker_command(request, run),
    }
    if slurm:
        output["job_file"] = train_file(request, loaded, run, module_command("rbp_tui"))
    return output


def _print_one(
    word: str, request: "LaunchRequest", loaded: "LoadedPreset", output: dict[str, Any], cost: "Cost | None"
) -> None:
    import shlex

    from rbp_engine.preset import resolved_toml
    from rbp_tui.cli.measure.cost import print_cost
    from rbp_tui.text.cost_text import one_process_note

    if word:
        print_line(one_line(f"# {word}"))
    print_lines(visible(output["job_file"] if "job_file" in output else resolved_toml(loaded.preset)))
    say("[dim]would run:[/] {}", shlex.join(output["command"]))
    if cost is not None:
        print_cost(loaded, cost, stderr=True)
        if note := one_process_note(request.takes.world_size):
            say("[dim]{}[/]", note)
