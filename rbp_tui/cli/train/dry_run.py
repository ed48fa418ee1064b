"""What `rbp train` would do, without doing it."""

from typing import TYPE_CHECKING, Any

from rbp_engine.printable import visible
from rbp_tui.cli.output import print_json, print_lines, say

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.request import LaunchRequest


def print_dry_run(request: "LaunchRequest", loaded: "LoadedPreset", *, slurm: bool, as_json: bool) -> None:
    """Print preset and command of a request, or with `slurm` a job file; `loaded` is its preset."""
    import shlex

    from rbp_engine.preset import resolved_toml
    from rbp_engine.run import start
    from rbp_engine.run.launch.environment import module_command
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
