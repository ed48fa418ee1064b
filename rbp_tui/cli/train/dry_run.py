"""What `rbp train` would do, without doing it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbp_tui.cli.output import print_json, say

if TYPE_CHECKING:
    from rbp_engine.preset import LoadedPreset
    from rbp_engine.run.files.resources import Resources


def print_dry_run(
    loaded: "LoadedPreset",
    words: list[str],
    runs: Path,
    run_id: str | None,
    resources: "Resources",
    *,
    slurm: bool,
    cost: bool = False,
    as_json: bool,
) -> None:
    """Print preset and command, or with `slurm` a job file; `words` are the preset and its overrides as given.

    `cost` adds what one process would take, which is measured and takes some seconds.
    """
    import shlex
    from dataclasses import asdict

    from rbp_engine.preset import resolved_toml
    from rbp_engine.run.files.layout import RunDirectory, check_run_id, new_run_id
    from rbp_engine.run.launch import launch
    from rbp_engine.run.launch.slurm import job_file
    from rbp_tui.cli.measure.cost import measure, print_cost
    from rbp_tui.text.cost_text import of_one_process

    if run_id is not None:
        check_run_id(run_id)
    run = RunDirectory(runs / (run_id or new_run_id(loaded.name, loaded.preset.method.name)))
    command = launch.command(run, resources)
    told: dict[str, Any] = {"preset": loaded.preset.model_dump(mode="json"), "command": command}
    if slurm:
        told["job_file"] = job_file(words, run, resources, gpus=loaded.preset.run.device != "cpu")
    predicted = measure(loaded) if cost else None
    if predicted is not None:
        told["cost"] = asdict(predicted)
    if as_json:
        print_json(told)
        return
    sys.stdout.write(told["job_file"] if slurm else resolved_toml(loaded.preset))
    say(f"[dim]would run:[/] {shlex.join(command)}")
    if predicted is not None:
        print_cost(loaded, predicted, stderr=True)
        if note := of_one_process(resources.world_size):
            say(f"[dim]{note}[/]")
