"""Which published accuracies are reproduced by the runs that are here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rbp_engine.report.collect import Experiment, ReportedRun, by_experiment
from rbp_engine.report.paper import SEEDS, PaperCell
from rbp_engine.report.spread import Judged, Spread, judge_differences, spread_of_known

#: How far an accuracy may be from the published one to be reproduced: one percentage point.
MARGIN = 0.01


class Answer(StrEnum):
    """Whether a published accuracy is reproduced."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    # Too few seeds, or too far apart, show neither; and a figure that is not known cannot be compared.
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Reproduction:
    """A published accuracy beside that of completed runs of exactly its experiment; accuracies are top-1 fractions.

    `last` is over the runs' last epochs, as the paper's figures are compared everywhere here; `best` over their best.
    `missing` are those of the seeds 1 to 3 that have not been trained. `judged` is what is shown of the difference, all
    cells together; None for a single run, or without a published figure.
    """

    cell: PaperCell
    last: Spread | None
    best: Spread | None
    missing: tuple[int, ...]
    judged: Judged | None = None

    @property
    def difference(self) -> Spread | None:
        """Ours minus the published one; None if one of them is not known.

        A published deviation counts as if it were that of a control of as many runs as ours, which is a little strict.
        """
        published = self.cell.published
        if self.last is None or not isinstance(published, float):
            return None
        std = self.last.std
        if std is not None:
            std = math.hypot(std, self.cell.standard_error * math.sqrt(self.last.count))
        return Spread(self.last.mean - published, std, self.last.count)

    @property
    def answer(self) -> Answer:
        if self.last is None:
            return Answer.NOT_MEASURED
        if self.judged is None or not (self.judged.equivalent or self.judged.different):
            return Answer.UNDECIDED
        return Answer.REPRODUCED if self.judged.equivalent else Answer.NOT_REPRODUCED


def reproductions(cells: Sequence[PaperCell], runs: Sequence[ReportedRun]) -> list[Reproduction]:
    """Each cell with the runs of its experiment; of those by several numbers of processes, with the most seeds."""
    found = [_reproduction(cell, [run for run in runs if run.summary.experiment == cell.experiment]) for cell in cells]
    judged = judge_differences([one.difference for one in found], MARGIN)
    return [replace(one, judged=its) for one, its in zip(found, judged, strict=True)]


def _reproduction(cell: PaperCell, found: Iterable[ReportedRun]) -> Reproduction:
    runs = max((Experiment.of(alike).runs for alike in by_experiment(found)), key=len, default=())
    seeds = {run.summary.seed for run in runs}
    return Reproduction(
        cell,
        last=spread_of_known(run.last for run in runs),
        best=spread_of_known(run.best for run in runs),
        missing=tuple(seed for seed in SEEDS if seed not in seeds),
    )
