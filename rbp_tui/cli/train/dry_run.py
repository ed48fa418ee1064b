"""What `rbp train` would do, without doing it."""

from typing import TYPE_CHECKING, Any

from rbp_engine.printable import visible
from rbp_tui.cli.output import print_json, print_lines, say

if TYPE_CHECKING:
    from rbp_engine.bench.cost import Cost
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.request import LaunchRequest


def print_dry_run(
    request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool, cost: bool = False, as_json: bool
) -> None:
    """Print preset and command of a request, or with `slurm` a job file.

    `loaded` is its preset. `cost` adds the cost of one process; measuring it takes as long as `rbp cost`.
    """
    from dataclasses import asdict

    from rbp_tui.cli.measure.cost import measure

    output = _output(request, loaded, slurm=slurm)
    predicted = measure(loaded) if cost else None
    if predicted is not None:
        output["cost"] = asdict(predicted)
    if as_json:
        print_json(output)
        return
    _print(request, loaded, output, predicted)
    if request.seeds:
        say("[dim]once for each of the seeds {}, each on a device of its own[/]", ", ".join(map(str, request.seeds)))


def _output(request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool) -> dict[str, Any]:
    from rbp_engine.run import start
    from rbp_engine.run.launch import launch
    from rbp_engine.run.launch.environment import module_command
    from rbp_engine.run.launch.slurm import train_file

    run = start.directory_of(request, loaded)
    output: dict[str, Any] = {
        "preset": loaded.preset.model_dump(mode="json"),
        "command": launch.command(run, request.options.takes),
    }
    if slurm:
        output["job_file"] = train_file(request, loaded, run, module_command("rbp_tui"))
    return output


def _print(request: "LaunchRequest", loaded: "LoadedPreset", output: dict[str, Any], cost: "Cost | None") -> None:
    import shlex

    from rbp_engine.preset import resolved_toml
    from rbp_tui.cli.measure.cost import print_cost
    from rbp_tui.text.cost_text import one_process_note

    print_lines(visible(output["job_file"] if "job_file" in output else resolved_toml(loaded.preset)))
    say("[dim]would run:[/] {}", shlex.join(output["command"]))
    if cost is not None:
        print_cost(loaded, cost, stderr=True)
        if note := one_process_note(request.options.takes.world_size):
            say("[dim]{}[/]", note)
