"""What `rbp train` would do, without doing it."""

from typing import TYPE_CHECKING, Any

from rbp_engine.printable import visible
from rbp_tui.cli.output import print_json, print_lines, say

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.request import LaunchRequest


def print_dry_run(
    request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool, cost: bool = False, as_json: bool
) -> None:
    """Print preset and command of a request, or with `slurm` a job file.

    `cost` adds the cost of one process; measuring it takes as long as `rbp cost`.
    """
    import shlex
    from dataclasses import asdict

    from rbp_engine.preset import resolved_toml
    from rbp_engine.run import start
    from rbp_engine.run.launch.slurm import job_file
    from rbp_tui.cli.measure.cost import measure, print_cost
    from rbp_tui.text.cost_text import one_process_note

    run = start.directory_of(request, loaded)
    command = start.worker_command(request, run)
    output: dict[str, Any] = {"preset": loaded.preset.model_dump(mode="json"), "command": command}
    if slurm:
        output["job_file"] = job_file(request.words, run, request.takes, gpus=loaded.preset.run.device != "cpu")
    predicted = measure(loaded) if cost else None
    if predicted is not None:
        output["cost"] = asdict(predicted)
    if as_json:
        print_json(output)
        return
    print_lines(visible(output["job_file"] if slurm else resolved_toml(loaded.preset)))
    say("[dim]would run:[/] {}", shlex.join(command))
    if predicted is not None:
        print_cost(loaded, predicted, stderr=True)
        if note := one_process_note(request.takes.world_size):
            say("[dim]{}[/]", note)
