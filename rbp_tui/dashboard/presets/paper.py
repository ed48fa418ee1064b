"""The paper's figures of a preset beside those of the user's runs."""

from collections.abc import Sequence

from rich.table import Column, Table
from rich.text import Text

from rbp_engine.preset import LoadedPreset
from rbp_engine.report.collect import one_of_each_seed
from rbp_engine.report.paper import cells_of
from rbp_engine.report.spread import Spread, spread_of_known
from rbp_engine.run.store.store import RunRecord
from rbp_tui.text import format as fmt


def counting_runs(experiment: str, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The completed runs of an experiment, one for each seed, as in a report."""
    return one_of_each_seed(
        record for record in records if record.summary.experiment == experiment and record.verdict.status == "completed"
    )


def last_accuracies(experiment: str, records: Sequence[RunRecord]) -> Spread | None:
    """Last top-1 accuracy over the completed runs of an experiment, one for each seed; None without any."""
    return spread_of_known(record.summary.last.top1 for record in counting_runs(experiment, records))


def paper_table(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Table | None:
    """A row for each method and T with a figure in the paper; None without any."""
    paper = loaded.preset.paper
    if paper is None or not paper.figures:
        return None
    numbers = [Column(name, justify="right") for name in ("T", "paper %", "ours %", "±", "runs")]
    table = Table("method", *numbers, box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    cells = cells_of(str(loaded.path))
    for figure in paper.figures:
        experiment = cells[(figure.method, figure.timesteps)]
        ours = last_accuracies(experiment, records) if isinstance(experiment, str) else None
        published = fmt.percent(figure.top1) if isinstance(figure.top1, float) else "–"
        # The deviation has a column of its own, so that the decimal points stand below each other.
        mean = fmt.percent(ours.mean if ours else None)
        deviation = fmt.percent(ours.std) if ours and ours.std is not None else ""
        count = str(ours.count) if ours else ""
        words = (fmt.method(figure.method), str(figure.timesteps), published, mean, deviation, count)
        table.add_row(*(Text(word, style="bold" if experiment == loaded.experiment else "") for word in words))
    return table
