"""The charts of a run: their curves and units."""

from collections.abc import Sequence

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import Attempt
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.monitor.marks import compilations, resumes
from rbp_tui.text.format import GIB, MIB

EVALUATED = "validation"

#: A line of a chart: the name of its curve, its label, and whether its highest value gets a star.
Lines = Sequence[tuple[str, str, bool]]

LOSS = (("train/loss", "train", False), ("validation/loss", EVALUATED, False))
TOP1 = (("train/top1", "train", False), ("validation/top1", EVALUATED, True))
SPEED = (("speed", "samples/s", False),)
STEP_TIME = (("step_ms", "step", False), ("data_ms", "data", False))
RATE = (("lr", "lr", False),)
#: Charts of these curves mark where the run compiled, which made it slow.
TIMED = {"speed", "step_ms"}


class RunChart(CurveChart):
    """A chart of some curves of a run by name, updated only if one of them has changed."""

    def __init__(
        self,
        title: str,
        lines: Lines = (),
        *,
        colours: SeriesColours,
        id: str,  # noqa: A002  # Textual's own name
    ) -> None:
        super().__init__(title=title, colours=colours, id=id)
        self._lines = lines
        self._model.from_zero = lines not in (LOSS, TOP1, RATE)  # what is measured is never quite still
        self._given: tuple[object, ...] = ()

    def show(self, curves: dict[str, Curve], axis: str, split: str = "", attempts: Sequence[Attempt] = ()) -> None:
        """Show the curves over "step", "epoch" or "time"; evaluations on the `split` "test" are labelled so.

        Where the `attempts` begin is marked.
        """
        lines = [
            (name, "test" if label == EVALUATED and split == "test" else label, best)
            for name, label, best in self._lines_of(curves)
            if name in curves
        ]
        given = (axis, split, len(attempts), *(curves[name] for name, _, _ in lines))
        if len(given) == len(self._given) and all(a is b for a, b in zip(given, self._given, strict=True)):
            return
        self._given = given
        scale = self._scale([curves[name] for name, _, _ in lines])
        self.x_axis = axis  # type: ignore[assignment]  # one of the three
        self.set_series(
            [
                Series(label, label, curve.axis(axis), scale * curve.value, marker="highest" if best else None)
                for name, label, best in lines
                for curve in [curves[name]]
            ]
        )

        timed = any(name in TIMED for name, _, _ in lines)
        self.set_marks(resumes(curves, attempts, axis) + (compilations(curves, attempts, axis) if timed else []))

    def _lines_of(self, curves: dict[str, Curve]) -> Lines:
        """The lines of the chart where these curves are known."""
        return self._lines

    def _scale(self, curves: list[Curve]) -> float:
        """The factor for values; accuracies are shown in per cent."""
        return 100.0 if self.title.endswith("%") else 1.0


class MemoryChart(RunChart):
    """Memory in MiB or GiB, depending on its size; the title names the unit."""

    def _lines_of(self, curves: dict[str, Curve]) -> Lines:
        """By rank where there are several, else what memory curve of the one process."""
        ranks = sorted(int(name.partition("/")[2]) for name in curves if name.startswith("memory/"))
        if ranks:
            return [("memory", "rank 0", False), *((f"memory/{rank}", f"rank {rank}", False) for rank in ranks)]
        used = "allocated" if "mem_reserved" in curves else "resident"
        return [("memory", used, False), ("mem_reserved", "reserved", False), ("mem_peak", "peak", False)]

    def _scale(self, curves: list[Curve]) -> float:
        newest = max((float(curve.value[-1]) for curve in curves if len(curve)), default=0.0)
        unit, name = (GIB, "GiB") if newest >= GIB else (MIB, "MiB")
        self.title = f"memory {name}"
        return 1.0 / unit
