"""`rbp bench --data`: images per second of loading and augmentation alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rbp_tui.cli.output import cell, print_rich, say
from rbp_tui.cli.progress import progress
from rbp_tui.text import format as fmt

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.preset import LoadedPreset

LOADING = "rbp_engine.bench.measure.loading"
# Of all kinds of data sets, with all augmentations; a turn takes a second and its start. For the time announced only.
ALL_CASES, START_S = 17, 10.0


def measure_loading(loaded: "LoadedPreset | None", rounds: int) -> dict[str, Any]:
    """The rates of a preset's data, or of every kind of data set, as a document for `--json`."""
    from rbp_engine.bench.measure.measurement import ask, temporary_run
    from rbp_engine.preset import load_preset

    cases = 2 if loaded else ALL_CASES
    what = f"measuring the loader: {cases} cases, {rounds} rounds of about a second each, then their median"
    with (
        progress(f"{what}: about {fmt.duration(START_S + 1.5 * cases * rounds)}") as on_progress,
        temporary_run(loaded or load_preset("digits")) as run,
    ):
        own = [] if loaded is None else ["--own"]
        answer = ask(LOADING, run, "--rounds", str(rounds), *own, on_progress=on_progress)
    return {"preset": None if loaded is None else loaded.name, "rates": answer["rates"]}


def print_rates(rates: Sequence[dict[str, Any]]) -> None:
    """Print the table on stdout and its explanation on stderr."""
    print_rich(_table(rates))
    say("[dim]per core: per processor second of the process, or per worker if there are workers[/]")


def _table(rates: Sequence[dict[str, Any]]) -> "Table":
    from rich.table import Column, Table

    numbers = [Column(head, justify="right") for head in ("workers", "images/s", "per core")]
    table = Table("data", "augmentation", *numbers, box=None, pad_edge=False, header_style="dim")
    for rate in rates:
        figures = [fmt.thousands(rate[key]) for key in ("workers", "images_per_s", "per_core")]
        table.add_row(cell(rate["kind"]), cell(rate["augmentation"]), *figures)
    return table
