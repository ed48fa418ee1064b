"""Experiments: runs that differ in nothing but what a repetition changes, and which of them counts for each seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from rbp_engine.report.collect import RecordedRun
    from rbp_engine.run.store.store import RunRecord

AnyRun = TypeVar("AnyRun", bound="RecordedRun | RunRecord")


@dataclass(frozen=True)
class Experiment(Generic[AnyRun]):
    """The runs of one experiment: one of each seed, in the order of the seeds.

    `older` are the others, each before the run of its seed that counts.
    """

    runs: tuple[AnyRun, ...]
    older: tuple[tuple[AnyRun, AnyRun], ...] = ()

    @classmethod
    def of(cls, runs: Iterable[AnyRun]) -> "Experiment[AnyRun]":
        """Of several runs of one seed the newest counts, preferring completed ones."""
        ordered = sorted(runs, key=lambda one: (_completed(one), one.summary.created, one.run.id))
        by_seed = {one.summary.seed: one for one in ordered}
        older = [(one, by_seed[one.summary.seed]) for one in ordered if one is not by_seed[one.summary.seed]]
        return cls(tuple(by_seed[seed] for seed in sorted(by_seed)), tuple(older))

    @property
    def counting(self) -> tuple[AnyRun, ...]:
        """The runs whose accuracies count: the completed ones if there are any, else all."""
        return tuple(one for one in self.runs if _completed(one)) or self.runs


def _completed(one: "RecordedRun | RunRecord") -> bool:
    return one.verdict.status == "completed"
