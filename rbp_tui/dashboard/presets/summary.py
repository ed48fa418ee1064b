"""The summary of a preset: its settings, the paper's figure and the user's, the data, and the cost here; what it
changes in its parent."""

import socket
from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rbp_engine.data.catalog import catalogued, is_catalogued
from rbp_engine.preset import LoadedPreset, PresetError, against_parent
from rbp_engine.printable import one_line
from rbp_engine.report.collect import Experiment
from rbp_engine.report.paper import published
from rbp_engine.report.spread import spread_of_known
from rbp_engine.run.files.attempts import most_processes
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.store.run_settings import processes_apart
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import MachineError
from rbp_tui.text import format as fmt
from rbp_tui.text.cost_text import span
from rbp_tui.text.presence_text import presence_text
from rbp_tui.text.setting_words import main_settings, settings_table

#: The others are in the TOML beside it.
SETTINGS_SHOWN = 10


def summary_of(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Group:
    """The important settings, two in a line where that has room; below them results, data and cost."""
    rows = main_settings(loaded.preset)[:SETTINGS_SHOWN]
    halves = [_grid(), _grid()]
    for number, row in enumerate(rows):
        halves[number % 2].add_row(*map(Text, row))  # a string would be markup
    facts = _grid()
    if loaded.preset.paper is not None:
        facts.add_row("paper", _paper(loaded))
    facts.add_row("yours", _ours(loaded, records))
    facts.add_row(
        "takes", estimate_line(loaded, records) or Text(f"rbp cost {one_line(loaded.name)} predicts it", "dim")
    )
    facts.add_row("data", data_text(loaded))
    return Group(Columns(halves, padding=(0, 2)), Text(), facts)


def of_experiment(loaded: LoadedPreset, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of the preset's current settings, oldest first."""
    return [record for record in records if record.summary.experiment == loaded.experiment]


def estimate_line(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Text | None:
    """Memory, and time of training steps, of the newest completed run here of the same experiment, by one process.

    None without any.
    """
    for record in reversed(of_experiment(loaded, records)):
        summary = record.summary
        if record.verdict.status != "completed" or not summary.epoch or not summary.trained_s:
            continue
        if read_run_json(record.run).host != socket.gethostname() or most_processes(record.run) > 1:
            continue
        per_epoch = summary.trained_s / summary.epoch
        total = fmt.duration(per_epoch * loaded.preset.train.epochs)
        return Text(f"~{fmt.size(summary.mem_peak)} · {span(per_epoch)} an epoch · {total} of training steps")
    return None


def data_here(name: str) -> bool | None:
    """Whether a data set is here, judging by file names; None for one that is not in the catalogue."""
    try:
        return catalogued(name).find().found if is_catalogued(name) else None
    except MachineError:
        return False


def data_text(loaded: LoadedPreset) -> Text:
    """The data set, whether it is here, and how to get it."""
    name = loaded.preset.data.name
    if not is_catalogued(name):
        return Text(one_line(name))
    try:
        found = catalogued(name).find()
    except MachineError as error:
        return Text(str(error), style="red")
    return Text(f"{catalogued(name).title}  ").append_text(presence_text(found))


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", width=7, no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _paper(loaded: LoadedPreset) -> Text:
    figure = published(loaded.preset)
    if isinstance(figure, float):
        return Text(f"{_figure(figure)} %")
    return Text("not known" if figure else "–", style="dim")


def _ours(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Text:
    """Means of the last and the best test accuracies of the completed runs by one process, one of each seed, and how
    many others there are.

    The digits stand below the paper's.
    """
    held_out = loaded.preset.train.validation_split > 0
    completed = [record for record in of_experiment(loaded, records) if record.verdict.status == "completed"]
    alone = [record for record in completed if not processes_apart(record)]
    summaries = [record.summary for record in Experiment.of(alone).runs]
    last = spread_of_known(one.test.last if held_out else one.last.top1 for one in summaries)
    best = spread_of_known(one.test.best if held_out else one.best.top1 for one in summaries)
    if last is None or best is None:
        return Text(f"no completed run of exactly these settings{' by one process' if completed else ''}", style="dim")
    others = {"of the same seeds": len(alone) - len(summaries), "by several processes": len(completed) - len(alone)}
    left_out = "".join(f", {count} {which} left out" for which, count in others.items() if count)
    spread = "" if last.std is None else f" ± {fmt.percent(last.std)}"
    return Text(
        f"{_figure(last.mean)} %{spread}, best {fmt.percent(best.mean)}, {fmt.counted(last.count, 'seed')}{left_out}"
    )


def _figure(fraction: float) -> str:
    return f"{fmt.percent(fraction):>5}"


def changes_of(loaded: LoadedPreset, heading: str) -> tuple[str, RenderableType]:
    """The name of the parent, empty if unknown, and a table of the differences, under `heading`."""
    try:
        parent, found = against_parent(loaded)
    except PresetError as error:  # an error of the parent alone, which may be corrected here
        return "", Text(str(error), style="red")
    same = Text(f"the same settings as {parent}", style="dim")
    return parent, settings_table(found, heading, parent) if found else same
