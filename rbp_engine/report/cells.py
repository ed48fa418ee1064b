"""One row of the table per experiment, with everything that a reader must know about it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rbp_engine.preset.experiment import LOSS_SCALE
from rbp_engine.printable import one_line
from rbp_engine.report import names
from rbp_engine.report.collect import (
    ORIGIN,
    Experiment,
    ReportedRun,
    by_experiment,
    by_seed,
    completed,
    differing,
    means_nothing,
)
from rbp_engine.report.conditions import conditions
from rbp_engine.report.paper import Published, departures, figures_by_experiment, published
from rbp_engine.report.spread import (
    Judged,
    Spread,
    judge_differences,
    mean_of_known,
    paired_by_seed,
    spread,
    spread_of_known,
)

#: Settings that have their own columns.
SHOWN = ("data.name", "model.name", "method.name", "method.timesteps")
#: What a method is compared with, if that was trained: single-step BPTT has the batch norm of the single-step methods.
CONTROLS = {"bptt": (), "rate_s": ("bptt_s", "bptt"), "sltt": ("bptt_s", "bptt"), "ottt": ("bptt_s", "bptt")}


@dataclass(frozen=True, kw_only=True)
class Cell(Experiment[ReportedRun]):
    """An experiment in a row; its label are the settings beside method and T. Accuracies are top-1 fractions on the
    test set.

    `timesteps_needed` is, over the runs of which it is known, the smallest t that is nearly as accurate as T.
    `difference` is our mean last accuracy minus the paper's figure. `by_seed` are the last accuracies minus those of
    the `control`, a method of `CONTROLS` at the same T and settings, and `against` is their spread: none for BPTT
    itself, and without a common seed. With `equal_steps` the control is the one whose changes of the weights are as
    large: at lr/T and T times the weight decay, where the method's gradients are 1/T of BPTT's. `step_ms` is the mean
    time of a training step, by the clock and with whatever ran beside it.
    """

    last: Spread
    best: Spread | None
    timesteps_needed: Spread | None
    paper: Published
    notes: tuple[str, ...]
    step_ms: float | None
    by_seed: tuple[float, ...] = ()
    control: str = ""
    equal_steps: bool = False
    judged: Judged | None = None

    @property
    def counting(self) -> tuple[ReportedRun, ...]:
        """All of them: those that do not count in a report are not in it."""
        return self.runs

    @property
    def against(self) -> Spread | None:
        return spread_of_known(self.by_seed)

    @property
    def difference(self) -> float | None:
        return self.last.mean - self.paper if isinstance(self.paper, float) else None

    @property
    def title(self) -> str:
        """The cell in words, like `CIFAR-10, ResNet-18, rate_M, T = 4, optim.lr = 0.05`."""
        words = self.words("data", "network", "method", "timesteps", "label")
        return ", ".join(word for word in words if word != "–")


def make_cells(entries: Iterable[ReportedRun], margin: float | None = None) -> list[Cell]:
    """Group runs by experiment; sorted by data set, network, method and T.

    With a `margin`, a fraction, the differences to the controls are judged, all together.
    """
    entries = list(entries)
    figures = figures_by_experiment({one.data for one in entries if one.preset and not published(one.preset)})
    places: defaultdict[tuple[Any, ...], list[ReportedRun]] = defaultdict(list)
    for entry in entries:
        # Runs of other programs are compared among themselves: most settings of a preset mean nothing to them.
        places[entry.data, entry.network, entry.preset is None].append(entry)
    cells = []
    for there in places.values():
        groups = [Experiment.of(runs) for runs in by_experiment(there)]
        labels = distinguish([one.first.settings for one in groups], [one.experiment for one in groups], shown=SHOWN)
        cells += [_cell(replace(one, label=label), figures) for one, label in zip(groups, labels, strict=True)]
    cells = sorted(_against_controls(cells), key=_order)
    if margin is None:
        return cells
    found = judge_differences([cell.against for cell in cells], margin)
    return [replace(cell, judged=judged) for cell, judged in zip(cells, found, strict=True)]


def distinguish(
    tables: Sequence[dict[str, Any]], experiments: Sequence[str], *, shown: Sequence[str]
) -> list[dict[str, Any]]:
    """For each of several tables of settings, its values of the keys in which any differ, without those in `shown`.

    Not only the keys needed to tell ambiguous tables apart: a method that was trained for twice as long must not look
    better than another without the reader noticing.
    """
    keys = differing(tables)
    if ORIGIN not in keys and any(ORIGIN in table for table in tables):
        keys.append(ORIGIN)  # also if all are: nobody may take them for runs of that length
    places = [repr([table.get(key) for key in keys]) for table in tables]
    times = Counter(places)
    return [
        {key: table.get(key) for key in keys if key not in shown and not means_nothing(key, table)}
        # Another version of rbp may have hashed the same settings differently.
        | ({"": experiment[:8]} if times[place] > 1 else {})
        for table, place, experiment in zip(tables, places, experiments, strict=True)
    ]


def _cell(group: Experiment[ReportedRun], figures: Mapping[str, Published]) -> Cell:
    newest = max(group.runs, key=lambda entry: entry.summary.created)
    # A preset that repeats a cell under another name, as a sweep does, has no figures of its own.
    paper = published(newest.preset) or figures.get(group.experiment)
    return Cell(
        **vars(group),
        last=spread([entry.last for entry in group.runs]),
        best=spread_of_known(entry.best for entry in group.runs),
        timesteps_needed=spread_of_known(entry.summary.timesteps_needed for entry in group.runs),
        paper=paper,
        notes=tuple(_notes(group, paper)),
        step_ms=mean_of_known(entry.summary.mean_step_ms for entry in group.runs),
    )


def _against_controls(cells: Iterable[Cell]) -> Iterable[Cell]:
    """The cells, each with its difference to the cell of its control, which differs from it in the method alone."""
    cells = list(cells)
    trained = {(cell.first.method, _place(cell)): cell for cell in cells}
    for cell in cells:
        names = CONTROLS.get(cell.first.method, ("bptt",))
        wanted = [(name, equal) for equal in ([True] if cell.has_smaller_steps else []) + [False] for name in names]
        for name, equal in wanted:
            control = trained.get((name, _place(cell, equal_steps=equal)))
            if control is not None:
                ours, theirs = (by_seed(one.runs, lambda run: run.last) for one in (cell, control))
                yield replace(cell, by_seed=tuple(paired_by_seed(ours, theirs)), control=name, equal_steps=equal)
                break
        else:
            yield cell


def _place(cell: Cell, *, equal_steps: bool = False) -> tuple[str, str, int, str, str]:
    """What a cell and its control have in common; with `equal_steps` the settings are of a control with such steps."""
    timesteps, program = cell.first.timesteps, cell.first.summary.program
    label = {key: value for key, value in cell.label.items() if key != LOSS_SCALE}  # it is the method's own
    if equal_steps:
        for key, value in (("optim.lr", 1 / timesteps), ("optim.weight_decay", timesteps)):
            label[key] = cell.first.settings[key] * value
    shown = sorted((key, f"{value:.6g}" if isinstance(value, float) else repr(value)) for key, value in label.items())
    return cell.first.data, cell.first.network, timesteps, program, repr(shown)


def _notes(group: Experiment[ReportedRun], paper: Published) -> Iterable[str]:
    entries = group.runs
    if program := entries[0].summary.program:
        yield f"trained by another program, {one_line(program)}"
    if (bests := sum(entry.best is not None for entry in entries)) < len(entries):
        yield f"best is known of {bests} of {len(entries)} runs"
    averaged = spread_of_known(
        entry.summary.test.ema if entry.held_out else entry.summary.last.ema_top1 for entry in entries
    )
    if averaged is not None:
        runs = f"{averaged.count} run{'s' if averaged.count > 1 else ''}"
        yield f"the moving average of the last weights has {100 * averaged.mean:.2f} % (mean of {runs})"
    yield from group.remarks()
    for entry in entries:
        if not completed(entry):
            epochs = f"{entry.summary.epoch} of {entry.summary.epochs} epochs"
            yield f"seed {entry.summary.seed} has not completed: {entry.verdict.shown_status} after {epochs}"
    if isinstance(paper, float):
        departed = departures(entries[0])
        if departed:
            changes = ", ".join(
                f"{names.setting(key, ours)} (there {names.shown_value(theirs)})"
                for key, (ours, theirs) in departed.items()
            )
            yield f"departs from the preset {one_line(entries[0].summary.preset)}: {changes}"
    if len({repr(published(entry.preset)) for entry in entries}) > 1:
        figures = [names.value_text(published(entry.preset)) for entry in entries]
        yield _difference(entries, "the paper's figure", figures)
    tables = [conditions(entry) for entry in entries]
    for name in differing(tables):
        yield _difference(entries, name, [table.get(name, "not recorded") for table in tables])


def _difference(entries: Sequence[ReportedRun], name: str, values: list[str]) -> str:
    seeds: defaultdict[str, list[int | None]] = defaultdict(list)
    for entry, value in zip(entries, values, strict=True):
        seeds[value].append(entry.summary.seed)
    listed = "; ".join(
        f"{value} (seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))})" for value, found in seeds.items()
    )
    return f"{name} differs: {listed}"


def _order(cell: Cell) -> tuple[Any, ...]:
    place = (names.data_set(cell.first.data).casefold(), names.network(cell.first.network).casefold())
    return (*place, cell.first.network, names.method_rank(cell.first.method), cell.first.timesteps, repr(cell.label))
