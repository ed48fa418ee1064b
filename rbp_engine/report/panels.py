"""The contents of the figures as plain numbers: the lines of each panel, their labels and colours."""

import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from rbp_engine.printable import one_line
from rbp_engine.report.cells import Cell, make_cells
from rbp_engine.report.collect import ReportedRun
from rbp_engine.report.conditions import device, run_start
from rbp_engine.report.seed_statistics import by_epoch, by_step, by_timesteps, over_seeds
from rbp_engine.report.spread import Spread, spread
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history_reader import read_history
from rbp_engine.run.history.samples import FidelityHistory, Floats
from rbp_engine.vocabulary import TRAINING_METHODS

# Okabe and Ito's colours, which colour-blind readers can distinguish; their yellow is too pale for a line on paper.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
# One of Tol's colours, distinguishable from all of these.
WINE = "#882255"
METHOD_COLOURS = {
    "rate_m": BLUE,
    "bptt": VERMILLION,
    "bptt_s": WINE,
    "rate_s": SKY,
    "sltt": GREEN,
    "ottt": PURPLE,
}
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)

Points: TypeAlias = dict[int, Spread]

GIB, MIB = 2.0**30, 2.0**20
LABEL_WIDTH = 36  # characters of a line beside an axis


@dataclass(frozen=True)
class PanelLine:
    """One line with its spread; `number` counts the lines of a panel that share a colour.

    `dots` are the values of the seeds at its only point.
    """

    label: str
    colour: str
    number: int
    points: Points
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Axes with their labels; values are multiplied by `scale` to get the unit of the label.

    With `timesteps` the points are few, at timesteps or layers, and have markers; else the spread is a band. Use
    `from_zero` for quantities that readers compare as ratios, and `has_margin` for differences to a control, which may
    lie within a margin.
    """

    xlabel: str
    ylabel: str
    scale: float
    timesteps: bool
    lines: tuple[PanelLine, ...]
    from_zero: bool = False
    has_margin: bool = False


def curves(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """Top-1 and training loss against epochs; a row of panels per data set and network, a line per cell."""
    panels = []
    for place, cells in _places(make_cells(entries)):
        read = [[read_history(entry.run).curves for entry in cell.runs] for cell in cells]
        titles = _differences(cells)
        methods = [cell.first.method for cell in cells]
        top1 = [over_seeds([by_epoch(seed.get("validation/top1")) for seed in seeds]) for seeds in read]
        axis, placed = _axis(one for seeds in read for seed in seeds if (one := seed.get("train/loss")))
        loss = [over_seeds([placed(seed.get("train/loss")) for seed in seeds]) for seeds in read]
        panels.append(
            [
                Panel("Epoch", f"{place}{_measured_on(cells)} (%)", 100.0, False, lines_of(titles, methods, top1)),
                Panel(axis, "Training loss", 1.0, False, lines_of(titles, methods, loss)),
            ]
        )
    return panels


def _axis(curves: Iterable[Curve]) -> tuple[str, Callable[[Curve | None], dict[int, float]]]:
    """Over what to draw curves: epochs, or steps if one of them, of another program, has none."""
    has_epochs = all(np.isfinite(curve.epoch).any() for curve in curves)
    return ("Epoch", by_epoch) if has_epochs else ("Step", by_step)


def _differences(cells: Sequence[Cell]) -> list[str]:
    """For each of several cells, that in which they differ; of a single one, its method and T."""
    several_methods, several_t = (
        len({getattr(cell.first, name) for cell in cells}) > 1 for name in ("method", "timesteps")
    )
    all_parts = {"method": several_methods, "timesteps": several_t, "label": True}
    parts = [part for part, differs in all_parts.items() if differs or len(cells) == 1]
    return [", ".join(cell.words(*parts) or cell.words("method", "timesteps")) for cell in cells]


def accuracy(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """Last top-1 against T; a panel per data set and network, a line per method. Runs without a T are left out."""
    panels = []
    for place, cells in _places(make_cells(entry for entry in entries if entry.summary.timesteps)):
        lines = _by_timesteps(cells, lambda family: {cell.first.timesteps: cell.last for cell in family})
        panels.append(Panel("Timesteps T", f"{place}Test top-1 (%)", 100.0, True, lines))
    return [panels[start : start + 2] for start in range(0, len(panels), 2)]


def costs(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """Peak memory and time of a step against T; runs on different machines are never joined into one line.

    Runs without a T are left out.
    """
    # As a setting the machine tells experiments apart.
    known = [
        replace(entry, settings=entry.settings | {"machine": _machine(entry)})
        for entry in entries
        if entry.summary.timesteps
    ]
    return [
        memory_and_time(
            _by_timesteps(cells, lambda family: _costs(family, "mem_peak")),
            _by_timesteps(cells, lambda family: _costs(family, "step_ms")),
            place,
        )
        for place, cells in _places(make_cells(known))
    ]


def _costs(family: Sequence[Cell], figure: str) -> Points:
    return by_timesteps((cell.first.timesteps, getattr(run.summary, figure)) for cell in family for run in cell.runs)


def memory_and_time(memory: tuple[PanelLine, ...], times: tuple[PanelLine, ...], place: str = "") -> list[Panel]:
    """Panels of lines in bytes and in milliseconds against T; `place` begins the label of the first."""
    largest = max((point.mean for line in memory for point in line.points.values()), default=0.0)
    unit, scale = ("GiB", 1 / GIB) if largest >= GIB else ("MiB", 1 / MIB)
    return [
        Panel("Timesteps T", f"{place}Peak memory ({unit})", scale, True, memory, from_zero=True),
        Panel("Timesteps T", "Time per step (ms)", 1.0, True, times, from_zero=True),
    ]


def gradients(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """How close gradients are to BPTT's, and how far what rate methods assume is from the truth (paper, figure 3).

    Of runs with `probes.gradients`: by epoch, where errors are means over the layers, and by layer, of the last sample.
    """
    rows = []
    for place, cells in _places(make_cells(entries)):
        read = [[it for run in cell.runs if (it := read_history(run.run).fidelity) is not None] for cell in cells]
        known = [(cell, histories) for cell, histories in zip(cells, read, strict=True) if histories]
        titles, methods = _differences([cell for cell, _ in known]), [cell.first.method for cell, _ in known]
        for axis, x_of in (("Epoch", _by_epoch), ("Layer", _by_layer)):
            row = []
            for label, value in _OF_GRADIENTS.items():
                points = [over_seeds([x_of(one, *value(one)) for one in histories]) for _, histories in known]
                row.append(Panel(axis, f"{place}{label}", 1.0, axis == "Layer", lines_of(titles, methods, points)))
            rows += [row] if known else []
    return rows


#: The panels of gradients: what they show of the whole network [N], and of each layer [N, L], at N samples.
_OF_GRADIENTS: dict[str, Callable[[FidelityHistory], tuple[Floats, Floats]]] = {
    "Cosine to BPTT": lambda found: (found.cosine, found.cosine_by_weight),
    "Error at neurons": lambda found: (_mean_over_layers(found.neuron_error), found.neuron_error),
    "Error at weights": lambda found: (_mean_over_layers(found.weight_error), found.weight_error),
}


def _mean_over_layers(values: Floats) -> Floats:
    """Of [N, L] the means [N] of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    means: Floats = np.where(known, values, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return means


def _by_epoch(found: FidelityHistory, whole: Floats, _: Floats) -> dict[int, float]:
    """The mean of the samples in each epoch, counted from 1."""
    epochs = np.maximum(1, np.ceil(found.epoch)).astype(int)
    return {epoch: float(whole[epochs == epoch].mean()) for epoch in sorted(set(epochs.tolist()))}


def _by_layer(found: FidelityHistory, _: Floats, by_layer: Floats) -> dict[int, float]:
    """The last sample, by layer, counted from 1."""
    return dict(enumerate(by_layer[-1].tolist(), start=1))


def firing_rates(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """The last firing rates by layer, a line for each timestep and a panel for each cell (paper, figure 5)."""
    panels = []
    for place, cells in _places(make_cells(entries)):
        for cell, title in zip(cells, _differences(cells), strict=True):
            found = [it.rates[-1] for run in cell.runs if (it := read_history(run.run).firing) is not None]
            if not found:
                continue
            names = [f"t = {step}" for step in range(1, cell.first.timesteps + 1)]
            points = [
                over_seeds([dict(enumerate(rates[:, step].tolist(), start=1)) for rates in found])
                for step in range(len(names))
            ]
            lines = lines_of(names, [""] * len(names), points)
            label = f"{place}Firing rate\n{textwrap.fill(title, LABEL_WIDTH)}"
            panels.append(Panel("Layer", label, 1.0, True, lines, from_zero=True))
    return [panels[start : start + 2] for start in range(0, len(panels), 2)]


def differences(entries: Sequence[ReportedRun]) -> list[list[Panel]]:
    """Last top-1 minus the control's, a column for each cell that has one: the mean, and a dot for each seed.

    A panel per data set and network.
    """
    panels = []
    for place, cells in _places(cell for cell in make_cells(entries) if cell.by_seed):
        numbered = list(enumerate(zip(cells, _differences(cells), strict=True), start=1))
        titles = [
            f"{column}: {title} against {TRAINING_METHODS[cell.control]}{' at lr/T' if cell.equal_steps else ''}"
            for column, (cell, title) in numbered
        ]
        means: list[Points] = [{column: spread(cell.by_seed)} for column, (cell, _) in numbered]
        lines = lines_of(titles, [cell.first.method for cell in cells], means)
        dotted = tuple(replace(line, dots=cell.by_seed) for line, cell in zip(lines, cells, strict=True))
        panels.append(Panel("Row", f"{place}Test top-1 − control's (points)", 100.0, True, dotted, has_margin=True))
    return [[panel] for panel in panels]


FIGURES: dict[str, Callable[[Sequence[ReportedRun]], list[list[Panel]]]] = {
    "curves": curves,
    "accuracy-vs-T": accuracy,
    "differences": differences,
    "cost": costs,
    "gradients": gradients,
    "firing-rates": firing_rates,
}


def _places(cells: Iterable[Cell]) -> list[tuple[str, list[Cell]]]:
    """The cells by data set and network, with a title that names these if there are several."""
    groups = [list(group) for _, group in groupby(cells, key=lambda cell: (cell.first.data, cell.first.network))]
    named = len(groups) > 1
    return [(f"{', '.join(group[0].words('data', 'network'))}\n" if named else "", group) for group in groups]


def _measured_on(cells: Sequence[Cell]) -> str:
    kinds = {cell.first.held_out for cell in cells}
    if len(kinds) > 1:
        return "Validation top-1"
    return "Held-out top-1" if kinds == {True} else "Test top-1"


def _by_timesteps(cells: Sequence[Cell], points: Callable[[Sequence[Cell]], Points]) -> tuple[PanelLine, ...]:
    """A line for each family of cells that differ only in T, through these points of it."""
    families: defaultdict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        families[", ".join(cell.words("method", "label")), cell.first.summary.program].append(cell)
    titles, methods = [title for title, _ in families], [family[0].first.method for family in families.values()]
    return lines_of(titles, methods, list(map(points, families.values())))


def _machine(entry: ReportedRun) -> str:
    start = run_start(entry.run)
    host = (start.host if start else None) or entry.origin.host or "an unknown host"
    count = start.world_size if start and start.world_size != 1 else None
    words = [f"{device(start) or 'an unknown device'} on {host}", *([f"{count} processes"] if count else [])]
    return one_line(", ".join(words))


def lines_of(
    titles: Sequence[str],
    methods: Sequence[str],
    points: Sequence[Points],
    colours: Mapping[str, str] = METHOD_COLOURS,
) -> tuple[PanelLine, ...]:
    """Lines with different colours as long as there are any; the first line of a method has its own of `colours`."""
    firsts = {colours[method]: methods.index(method) for method in methods if method in colours}
    free = [colour for colour in COLOURS if colour not in firsts]
    lines: list[PanelLine] = []
    for number, (title, method, values) in enumerate(zip(titles, methods, points, strict=True)):
        colour = colours.get(method)
        if colour is None or firsts[colour] != number:
            colour = free.pop(0) if free else COLOURS[number % len(COLOURS)]
        lines.append(PanelLine(title, colour, sum(line.colour == colour for line in lines), values))
    return tuple(lines)
