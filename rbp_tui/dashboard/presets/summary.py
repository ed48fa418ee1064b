"""The summary of a preset: its settings, the paper's figure and the user's, the data, and the cost here."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rbp_engine.data.catalog import catalogued, is_catalogued, presence
from rbp_engine.preset import LoadedPreset
from rbp_engine.printable import one_line
from rbp_engine.report.collect import Experiment
from rbp_engine.report.paper import published
from rbp_engine.report.spread import spread_of_known
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import MachineError
from rbp_tui.text import format as fmt
from rbp_tui.text.cost_text import span
from rbp_tui.text.presence_text import presence_text

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset
    from rbp_engine.preset.sections.network import NeuronSection


def summary_of(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Group:
    """The important settings, and below them results, data and cost."""
    facts = _grid(2)
    if loaded.preset.paper is not None:
        facts.add_row("paper", _paper(loaded.preset))
    facts.add_row("ours", _ours(loaded, records))
    facts.add_row(
        "here", estimate_line(loaded, records) or Text(f"not measured: rbp cost {one_line(loaded.name)}", "dim")
    )
    facts.add_row("data", data_text(loaded))
    return Group(_settings(loaded.preset), Text(), facts)


def of_experiment(loaded: LoadedPreset, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of the preset's current settings, oldest first."""
    return [record for record in records if record.summary.experiment == loaded.experiment]


def estimate_line(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Text | None:
    """Memory and time of a run on this host, from the newest completed run of the same experiment; None without any."""
    for record in reversed(of_experiment(loaded, records)):
        summary = record.summary
        if record.verdict.status != "completed" or not summary.epoch or not summary.trained_s:
            continue
        if read_run_json(record.run).host != socket.gethostname():
            continue
        per_epoch = summary.trained_s / summary.epoch
        total = fmt.duration(per_epoch * loaded.preset.train.epochs)
        return Text(f"~{fmt.size(summary.mem_peak)} · {span(per_epoch)} an epoch · {total}")
    return None


def data_here(name: str) -> bool | None:
    """Whether a data set is here, judging by file names; None for one that is not in the catalogue."""
    try:
        return presence(name).found if is_catalogued(name) else None
    except MachineError:
        return False


def data_text(loaded: LoadedPreset) -> Text:
    """The data set, whether it is here, and how to get it."""
    name = loaded.preset.data.name
    if not is_catalogued(name):
        return Text(one_line(name))
    try:
        found = presence(name)
    except MachineError as error:
        return Text(str(error), style="red")
    return Text(f"{catalogued(name).title}  ").append_text(presence_text(found))


def _settings(preset: "Preset") -> Table:
    """Two settings per line, so that they fit on a small terminal."""
    neuron, optim, method = preset.neuron, preset.optim, preset.method
    scale = f"× {method.loss_scale}" if method.name.startswith("rate") else "–"
    loss = scale if preset.loss.name == "ce" else f"{preset.loss.name} {scale}".removesuffix(" –")
    warmup = f", {optim.warmup_epochs} warm-up" if optim.warmup_epochs else ""
    grid = _grid(4)
    for words in (
        ("network", preset.model.name, "T", str(method.timesteps)),
        ("method", fmt.method(method.name), "loss", loss),
        _neuron(neuron),
        ("epochs", str(preset.train.epochs), "batch", str(preset.data.batch_size)),
        ("lr", f"{optim.lr:g} {optim.schedule}{warmup}", "optim", optim.name),
    ):
        grid.add_row(*(Text(one_line(word)) for word in words))  # a string would be markup
    return grid


def _neuron(neuron: "NeuronSection") -> tuple[str, str, str, str]:
    if neuron.name != "lif":  # it has none of LIF's settings
        return "neuron", neuron.name, "surrogate", neuron.surrogate
    return "λ, V_th", f"{neuron.decay:g}, {neuron.threshold:g}", "reset", neuron.reset


def _grid(columns: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(columns // 2):
        grid.add_column(style="dim", width=7, no_wrap=True)
        grid.add_column(overflow="fold")
    return grid


def _paper(preset: "Preset") -> Text:
    figure = published(preset)
    if isinstance(figure, float):
        return Text(f"{_figure(figure)} %")
    return Text("not known" if figure else "–", style="dim")


def _ours(loaded: LoadedPreset, records: Sequence[RunRecord]) -> Text:
    """Mean of the last accuracies of the completed runs, one of each seed, and the best of all.

    The digits stand below the paper's.
    """
    completed = [record for record in of_experiment(loaded, records) if record.verdict.status == "completed"]
    counting = Experiment.of(completed).runs
    last = spread_of_known(record.summary.last.top1 for record in counting)
    if last is None:
        return Text("no run yet", style="dim")
    bests = [record.summary.best.top1 for record in counting]
    best = max((top1 for top1 in bests if top1 is not None), default=None)
    spread = "" if last.std is None else f" ± {fmt.percent(last.std)}"
    return Text(f"{_figure(last.mean)} %{spread}, best {fmt.percent(best)}, {fmt.counted(last.count, 'run')}")


def _figure(fraction: float) -> str:
    return f"{fmt.percent(fraction):>5}"
