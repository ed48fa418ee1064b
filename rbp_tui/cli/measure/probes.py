"""`rbp bench --probes`: what each probe adds to a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_tui.cli.output import print_rich, say
from rbp_tui.cli.progress import progress
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.preset import LoadedPreset

MODULE = "rbp_engine.bench.measure.probes"


def measure_probes(loaded: "Sequence[LoadedPreset]", rounds: int) -> list[dict[str, Any]]:
    """The costs with each of these presets, one after the other, with its method."""
    from rbp_engine.bench.measure.measurement import ask, temporary_run

    found = []
    for one in loaded:
        method = one.preset.method.name
        what = f"measuring what each probe adds to a step of {one.name} by {fmt.method(method)}"
        with progress(what) as on_progress, temporary_run(one) as run:
            answer = ask(MODULE, run, "--steps", str(10 * rounds), on_progress=on_progress)
        found += [{"method": method, **cost} for cost in answer["costs"]]
    return found


def print_costs(costs: Sequence[dict[str, Any]]) -> None:
    """Print the table on stdout and its explanation on stderr."""
    print_rich(_table(costs))
    say("[dim]step and sampled: medians, measured in turns; of a run: of the time of its steps, sampled that often[/]")


def _table(costs: Sequence[dict[str, Any]]) -> "Table":
    from rich.table import Column, Table

    numbers = [Column(head, justify="right") for head in ("step", "sampled", "every n steps", "of a run")]
    table = Table("method", "probe", *numbers, box=None, pad_edge=False, header_style="dim")
    for cost in costs:
        times = [f"{1000 * cost[name]:.2f} ms" for name in ("step_s", "sampled_s")]
        probe = cost["probe"].replace("_", " ")
        table.add_row(fmt.method(cost["method"]), probe, *times, str(cost["every"]), f"{100 * cost['share']:.2f} %")
    return table
