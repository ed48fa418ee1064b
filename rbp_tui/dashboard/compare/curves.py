"""The curves of a comparison: the mean over the seeds of each experiment with its spread, or the runs as points."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from rbp_engine.report.compare import Group
from rbp_engine.report.seed_statistics import MeanCurve, mean_curve
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_engine.run.history.samples import OwnHistory
from rbp_tui.charts.series import Series
from rbp_tui.text.format import GIB

#: What may be compared, by the names of the curves: its title, and the factor for its values.
CURVES = {
    "validation/top1": ("top-1 %", 100.0),
    "train/loss": ("train loss", 1.0),
    "validation/loss": ("loss", 1.0),
    "train/top1": ("train top-1 %", 100.0),
}
#: What begins the name of a metric of the run's own.
OWN = "own/"
#: Which value of a curve is its best; the best of noise says nothing.
MARKERS: dict[str, Literal["lowest", "highest"]] = {"validation/top1": "highest", "validation/loss": "lowest"}
#: Over what; memory has a point for each run.
AXES = ("epoch", "step", "time", "memory")
MEMORY = "memory"

#: All curves of a run by their names, as far as they have been read; None if nothing of it has been.
CurvesOf = Callable[[str], dict[str, Curve] | None]


def title(name: str) -> str:
    """What a curve is called."""
    return CURVES[name][0] if name in CURVES else name.removeprefix(OWN)


def all_curves(history: History) -> dict[str, Curve]:
    """The curves of a run by their names, with those of its own metrics."""
    return history.curves | (_own_curves(history.own) if history.own else {})


@functools.lru_cache(maxsize=64)
def _own_curves(own: OwnHistory) -> dict[str, Curve]:
    """The same objects for the same history; the moments of its numbers are not kept."""
    seconds = np.full(len(own.step), np.nan)
    columns = zip(own.names, own.values.T, strict=True)
    return {f"{OWN}{name}": Curve(own.step, own.epoch, seconds, values) for name, values in columns}


class ComparedCurves:
    """Means over seeds; each is computed again only when one of its curves has news."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, ...], str, str], tuple[list[Curve], MeanCurve | None]] = {}

    def curve(self, group: Group, name: str, axis: str, curves_of: CurvesOf) -> MeanCurve | None:
        """The curve `name` of a group over one of `AXES`, in the units of the events; None while there is none.

        Over memory it has the newest value of each run at the run's peak, in bytes.
        """
        if axis == MEMORY:
            return _points(group, name, curves_of)
        ids = tuple(one.run.id for one in group.counting)
        found = [curve for run_id in ids if (curve := (curves_of(run_id) or {}).get(name)) is not None]
        place = (ids, name, axis)
        known = self._known.get(place)
        if (
            known is None
            or len(known[0]) != len(found)
            or any(a is not b for a, b in zip(known[0], found, strict=True))
        ):
            known = self._known[place] = (found, mean_curve((curve.axis(axis), curve.value) for curve in found))
        return known[1]

    def forget(self, groups: Sequence[Group]) -> None:
        """Keep the means of these groups only."""
        kept = {tuple(one.run.id for one in group.counting) for group in groups}
        self._known = {place: known for place, known in self._known.items() if place[0] in kept}


def _points(group: Group, name: str, curves_of: CurvesOf) -> MeanCurve | None:
    pairs = []
    for one in group.counting:
        curve = (curves_of(one.run.id) or {}).get(name)
        peak = one.summary.mem_peak
        if curve is not None and peak and len(known := curve.value[np.isfinite(curve.value)]):
            pairs.append((float(peak), float(known[-1])))
    if not pairs:
        return None
    memory, values = np.array(sorted(pairs)).T
    return MeanCurve(memory, values, None, 1)


def series(
    key: str, label: str, curve: MeanCurve, name: str, axis: str, *, starred: bool = True, emphasis: bool = False
) -> Series:
    """The curve as the chart draws it: accuracies in per cent, memory in GiB, the standard deviation as a band.

    With `starred` the best value of a run gets a star: a mean over seeds has none, since the mean of their best values
    is another number. With `emphasis` the curve is drawn over the others.
    """
    scale = CURVES[name][1] if name in CURVES else 1.0
    band = None if curve.std is None else (scale * (curve.mean - curve.std), scale * (curve.mean + curve.std))
    if axis == MEMORY:
        return Series(key, label, curve.x / GIB, scale * curve.mean, points=True, emphasis=emphasis)
    marker = MARKERS.get(name) if starred and curve.count == 1 else None
    return Series(key, label, curve.x, scale * curve.mean, band=band, marker=marker, emphasis=emphasis)
