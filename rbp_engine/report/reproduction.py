"""Which published accuracies are reproduced by the runs that are here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rbp_engine.report.collect import Experiment, ReportedRun, by_experiment
from rbp_engine.report.paper import SEEDS, PaperCell
from rbp_engine.report.spread import Spread, spread_of_known


class Answer(StrEnum):
    """Whether a published accuracy is reproduced."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    # A single run has no interval, and a figure that is not known can be measured but not compared.
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Reproduction:
    """A published accuracy beside that of completed runs of exactly its experiment; accuracies are top-1 fractions.

    `last` is over the runs' last epochs, as the paper's figures are compared everywhere here; `best` over their best.
    `missing` are those of the seeds 1 to 3 that have not been trained.
    """

    cell: PaperCell
    last: Spread | None
    best: Spread | None
    missing: tuple[int, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus the published one; None if one of them is not known."""
        published = self.cell.published
        return self.last.mean - published if self.last is not None and isinstance(published, float) else None

    @property
    def interval(self) -> float | None:
        """Half of the 95 % interval that decides: that of the published mean where it is known, else that of ours."""
        return self.cell.interval or (self.last.interval if self.last is not None else None)

    @property
    def answer(self) -> Answer:
        if self.last is None:
            return Answer.NOT_MEASURED
        if self.difference is None or self.interval is None:
            return Answer.UNDECIDED
        inside = abs(self.difference) <= self.interval + 1e-9
        return Answer.REPRODUCED if inside else Answer.NOT_REPRODUCED


def reproductions(cells: Sequence[PaperCell], runs: Sequence[ReportedRun]) -> list[Reproduction]:
    """Each cell with the runs of its experiment; of those by several numbers of processes, with the most seeds."""
    return [_reproduction(cell, [run for run in runs if run.summary.experiment == cell.experiment]) for cell in cells]


def _reproduction(cell: PaperCell, found: Iterable[ReportedRun]) -> Reproduction:
    runs = max((Experiment.of(alike).runs for alike in by_experiment(found)), key=len, default=())
    seeds = {run.summary.seed for run in runs}
    return Reproduction(
        cell,
        last=spread_of_known(run.last for run in runs),
        best=spread_of_known(run.best for run in runs),
        missing=tuple(seed for seed in SEEDS if seed not in seeds),
    )
