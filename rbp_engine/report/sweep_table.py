"""The table of a sweep: a row for each combination of settings, with what its seeds have reached."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rbp_engine.plan.points import SweepPlan
from rbp_engine.plan.states import PointState, Standing, counts
from rbp_engine.preset.sweep.section import key_of
from rbp_engine.report.collect import Experiment
from rbp_engine.report.spread import Spread, paired, spread_of_known
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.store.store import RunRecord


@dataclass(frozen=True)
class SweepRow:
    """A trial: the values of its settings as texts, by dotted key; its runs; and the spread over those that are done.

    `last` and `best` are top-1 fractions in the evaluations during training, on held-out data where a preset has
    `train.validation_split`; None if nothing is known.
    """

    trial: int
    values: dict[str, str]
    states: tuple[PointState, ...]

    @functools.cached_property
    def last(self) -> Spread | None:
        return spread_of_known(summary.last.top1 for summary in self.results)

    @functools.cached_property
    def best(self) -> Spread | None:
        return spread_of_known(summary.best.top1 for summary in self.results)

    @property
    def done(self) -> int:
        """How many of its runs are done."""
        return counts(self.states)[Standing.DONE]

    @property
    def results(self) -> list[Summary]:
        """The summaries of those that are done, one of each seed.

        A pruned run has no result to compare with those of whole runs.
        """
        done = [state.record for state in self.states if state.standing is Standing.DONE and state.record]
        whole = Experiment.of(record for record in done if record.verdict.cause is not Cause.PRUNED)
        return [record.summary for record in whole.runs]

    @property
    def records(self) -> list[RunRecord]:
        """Its runs, as far as there are any."""
        return [state.record for state in self.states if state.record is not None]


def sweep_rows(plan: SweepPlan, states: Sequence[PointState]) -> list[SweepRow]:
    """The rows of a sweep, in the order of its trials."""
    by_trial: dict[int, list[PointState]] = {}
    for state in states:
        by_trial.setdefault(state.point.trial, []).append(state)
    rows = []
    for trial, mine in sorted(by_trial.items()):
        values = {key_of(word): word.partition("=")[2] for word in mine[0].point.overrides}
        rows.append(SweepRow(trial, {key: values.get(key, "") for key in plan.keys}, tuple(mine)))
    return rows


def best_row(rows: Sequence[SweepRow]) -> SweepRow | None:
    """The row that `rank` puts first; None if none has a result."""
    return max((row for row in rows if row.last), key=rank, default=None)


def rank(row: SweepRow) -> tuple[float, float]:
    """The row with the largest is the best: the fewest seeds that ended without a result, then the mean of `last`."""
    if row.last is None:
        return -math.inf, -math.inf
    of = counts(row.states)
    return row.last.count - of[Standing.DONE] - of[Standing.FAILED], row.last.mean


def difference(row: SweepRow, first: SweepRow, which: str) -> Spread | None:
    """The difference of a row to the first one in `which`, "last" or "best", over the seeds that both have."""
    ours, theirs = ({one.seed: getattr(one, which).top1 for one in each.results} for each in (row, first))
    return paired(ours, theirs)


def plain_row(row: SweepRow) -> dict[str, Any]:
    """A row for JSON."""
    return {
        "trial": row.trial,
        "settings": row.values,
        "done": row.done,
        "last": None if row.last is None else vars(row.last),
        "best": None if row.best is None else vars(row.best),
        "runs": [_plain_state(state) for state in row.states],
    }


def _plain_state(state: PointState) -> dict[str, Any]:
    record = state.record
    return {
        "seed": state.point.seed,
        "identity": state.point.identity,
        "standing": state.standing,
        "id": None if record is None else record.run.id,
        "status": None if record is None else record.verdict.status,
        "reason": None if record is None else record.verdict.reason,
        "last": None if record is None else record.summary.last.top1,
        "best": None if record is None else record.summary.best.top1,
    }
