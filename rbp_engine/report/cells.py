"""One row of the table per experiment, with everything that a reader must know about it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rbp_engine.printable import one_line
from rbp_engine.report import names
from rbp_engine.report.collect import ORIGIN, Experiment, ReportedRun, by_experiment, remarks
from rbp_engine.report.conditions import conditions
from rbp_engine.report.paper import Published, departures, figures_by_experiment, published
from rbp_engine.report.settings import differing
from rbp_engine.report.spread import Spread, mean_of_known, paired, spread, spread_of_known

#: Settings that have their own columns.
SHOWN = ("data.name", "model.name", "method.name", "method.timesteps")


@dataclass(frozen=True)
class Cell:
    """The runs of one experiment. Accuracies are top-1 fractions on the test set.

    `timesteps_needed` is, over the runs of which it is known, the smallest t that is nearly as accurate as T.
    `label` holds, by dotted key, the settings other than method and T in which the experiments of its data set and
    network differ; empty if there are none. `difference` is our mean last accuracy minus the paper's figure.
    `against_bptt` is the last accuracy minus BPTT's at the same T and settings, paired by seed; None for BPTT itself,
    and without a common seed. `step_ms` is the mean time of a training step, by the clock and with whatever ran beside
    it, and `mem_peak` the largest peak of a run, in bytes.
    """

    data: str
    network: str
    method: str
    timesteps: int
    label: dict[str, Any]
    experiment: str
    entries: tuple[ReportedRun, ...]
    held_out: bool
    last: Spread
    best: Spread | None
    timesteps_needed: Spread | None
    paper: Published
    notes: tuple[str, ...]
    step_ms: float | None
    mem_peak: float | None
    against_bptt: Spread | None = None

    @property
    def difference(self) -> float | None:
        return self.last.mean - self.paper if isinstance(self.paper, float) else None

    @property
    def title(self) -> str:
        """The cell in words, like `CIFAR-10, ResNet-18, rate_M, T = 4, optim.lr = 0.05`."""
        known = [names.data_set(self.data), names.network(self.network), names.method(self.method)]
        return ", ".join([*known, *timesteps_words(self.timesteps), *label_words(self.label)])


def timesteps_words(timesteps: int) -> list[str]:
    """T in words; another program may have none."""
    return [f"T = {timesteps}"] if timesteps else []


def label_words(label: dict[str, Any]) -> list[str]:
    """The settings of a label in words; an experiment without any was recorded by another version."""
    return [names.setting(key, value) if key else f"recorded as {value}" for key, value in label.items()]


def make_cells(entries: Iterable[ReportedRun]) -> list[Cell]:
    """Group runs by experiment; sorted by data set, network, method and T."""
    entries = list(entries)
    ours = [entry for entry in entries if not entry.summary.program]
    figures = figures_by_experiment({entry.settings["data.name"] for entry in ours if not published(entry.preset)})
    places: defaultdict[tuple[Any, ...], list[ReportedRun]] = defaultdict(list)
    for entry in entries:
        # What other programs were given is told apart among themselves: most settings of a preset mean nothing to them.
        places[*_names(entry)[:2], entry.preset is None].append(entry)
    cells = []
    for there in places.values():
        groups = [Experiment.of(runs).runs for runs in by_experiment(there)]
        firsts = [group[0] for group in groups]
        labels = distinguish([one.settings for one in firsts], [one.summary.experiment for one in firsts], shown=SHOWN)
        cells += [_cell(group, label, figures) for group, label in zip(groups, labels, strict=True)]
    return sorted(_against_bptt(cells), key=_order)


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
        {key: table.get(key) for key in keys if key not in shown and not (key == ORIGIN and key not in table)}
        # Another version of rbp may have hashed the same settings differently.
        | ({"": experiment[:8]} if times[place] > 1 else {})
        for table, place, experiment in zip(tables, places, experiments, strict=True)
    ]


def _cell(entries: Sequence[ReportedRun], label: dict[str, Any], figures: Mapping[str, Published]) -> Cell:
    first = entries[0]
    data, network, method = _names(first)
    bests = [entry.best for entry in entries if entry.best is not None]
    newest = max(entries, key=lambda entry: entry.summary.created)
    # A preset that repeats a cell under another name, as a sweep does, has no figures of its own.
    paper = _published(newest) or figures.get(newest.summary.experiment)
    return Cell(
        data=data,
        network=network,
        method=method,
        timesteps=first.summary.timesteps if first.preset is None else first.settings["method.timesteps"],
        label=label,
        experiment=first.summary.experiment,
        entries=tuple(entries),
        held_out=first.held_out,
        last=spread([entry.last for entry in entries]),
        best=spread(bests) if bests else None,
        timesteps_needed=spread_of_known(entry.summary.timesteps_needed for entry in entries),
        paper=paper,
        notes=tuple(_notes(entries, len(bests), paper)),
        step_ms=mean_of_known(map(_step_ms, entries)),
        mem_peak=max((peak for entry in entries if (peak := entry.summary.mem_peak)), default=None),
    )


def _against_bptt(cells: Iterable[Cell]) -> Iterable[Cell]:
    """The cells, each with its difference to the BPTT cell that differs from it in the method alone."""
    cells = list(cells)
    by_place = {_place(cell): cell for cell in cells if cell.method == "bptt"}
    for cell in cells:
        bptt = by_place.get(_place(cell))
        if bptt is None or bptt is cell:
            yield cell
        else:
            yield replace(cell, against_bptt=paired(_last_by_seed(cell), _last_by_seed(bptt)))


def _place(cell: Cell) -> tuple[str, str, int, str, str]:
    program = cell.entries[0].summary.program
    return cell.data, cell.network, cell.timesteps, program, repr(sorted(cell.label.items()))


def _last_by_seed(cell: Cell) -> dict[int, float | None]:
    return {entry.summary.seed: entry.last for entry in cell.entries}


def _step_ms(entry: ReportedRun) -> float | None:
    summary = entry.summary
    return 1000 * summary.trained_s / summary.step if summary.step and summary.trained_s else None


def _names(entry: ReportedRun) -> tuple[str, str, str]:
    """Data set, network and method; what another program was not told is a dash, and the method is then its own."""
    data, network, method = (str(entry.settings.get(key) or "") for key in SHOWN[:3])
    return data or "–", network or "–", method or one_line(entry.summary.program)


def _published(entry: ReportedRun) -> Published:
    """The paper's figure, for a run of rbp."""
    return None if entry.summary.program else published(entry.preset)


def _notes(entries: Sequence[ReportedRun], bests: int, paper: Published) -> Iterable[str]:
    if program := entries[0].summary.program:
        yield f"trained by another program, {one_line(program)}"
    if bests < len(entries):
        yield f"best is known of {bests} of {len(entries)} runs"
    averaged = spread_of_known(
        entry.summary.test.ema if entry.held_out else entry.summary.last.ema_top1 for entry in entries
    )
    if averaged is not None:
        runs = f"{averaged.count} run{'s' if averaged.count > 1 else ''}"
        yield f"the moving average of the last weights has {100 * averaged.mean:.2f} % (mean of {runs})"
    yield from remarks([entry.summary for entry in entries])
    for entry in entries:
        if not entry.completed:
            epochs = f"{entry.summary.epoch} of {entry.summary.epochs} epochs"
            yield f"seed {entry.summary.seed} has not completed: {entry.status} after {epochs}"
    if isinstance(paper, float):
        departed = departures(entries[0])
        if departed:
            changes = ", ".join(
                f"{names.setting(key, ours)} (there {names.value_text(theirs)})"
                for key, (ours, theirs) in departed.items()
            )
            yield f"departs from the preset {one_line(entries[0].summary.preset)}: {changes}"
    if len({repr(_published(entry)) for entry in entries}) > 1:
        figures = [names.value_text(_published(entry)) for entry in entries]
        yield _difference(entries, "the paper's figure", figures)
    tables = [conditions(entry) for entry in entries]
    for name in differing(tables):
        yield _difference(entries, name, [table.get(name, "not recorded") for table in tables])


def _difference(entries: Sequence[ReportedRun], name: str, values: list[str]) -> str:
    seeds: defaultdict[str, list[int]] = defaultdict(list)
    for entry, value in zip(entries, values, strict=True):
        seeds[value].append(entry.summary.seed)
    listed = "; ".join(
        f"{value} (seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))})" for value, found in seeds.items()
    )
    return f"{name} differs: {listed}"


def _order(cell: Cell) -> tuple[Any, ...]:
    place = (names.data_set(cell.data).casefold(), names.network(cell.network).casefold())
    return (*place, cell.network, names.method_rank(cell.method), cell.timesteps, repr(cell.label))
