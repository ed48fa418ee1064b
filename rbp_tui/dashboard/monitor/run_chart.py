"""The charts of a run: their curves and units."""

from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import History
from rbp_tui.charts.palette import SeriesColours
from rbp_tui.charts.run_curves import LOSS, TOP1, Lines, series_of
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.monitor.marks import compilations, resumes
from rbp_tui.text.format import GIB, MIB

SPEED = (("speed", "samples/s", False),)
STEP_TIME = (("step_ms", "step", False), ("data_ms", "data", False))
RATE = (("lr", "lr", False),)
#: Charts of these curves mark where the run compiled, which made it slow.
TIMED = {"speed", "step_ms"}


class RunChart(CurveChart):
    """A chart of some curves of a run, with their values times `scale`."""

    def __init__(
        self,
        title: str,
        lines: Lines = (),
        scale: float = 1.0,
        *,
        colours: SeriesColours,
        id: str,  # noqa: A002  # Textual's own name
    ) -> None:
        super().__init__(title=title, colours=colours, id=id)
        self._lines = lines
        self._scale = scale
        self._model.from_zero = lines not in (LOSS, TOP1, RATE)  # what is measured is never quite still
        self._shown: History | None = None

    def show(self, history: History, axis: str) -> None:
        """Show a run over "step", "epoch" or "time", and mark where its attempts begin."""
        if history is self._shown and axis == self.x_axis:
            return
        self._shown = history
        lines, curves = self._lines_of(history.curves), history.curves
        self._choose_unit([curves[name] for name, _, _ in lines if name in curves])
        self.x_axis = axis  # type: ignore[assignment]  # one of the three
        self.set_series(series_of(history, lines, axis, self._scale))
        timed = any(name in TIMED for name, _, _ in lines)
        marks = compilations(curves, history.attempts, axis) if timed else []
        self.set_marks(resumes(curves, history.attempts, axis) + marks)

    def _lines_of(self, curves: dict[str, Curve]) -> Lines:
        """The lines of the chart where these curves are known."""
        return self._lines

    def _choose_unit(self, curves: list[Curve]) -> None:
        """Set the title and the scale where they depend on the values."""


class MemoryChart(RunChart):
    """Memory in MiB or GiB, depending on its size; the title names the unit."""

    def _lines_of(self, curves: dict[str, Curve]) -> Lines:
        """By rank where there are several, else what memory curve of the one process."""
        ranks = sorted(int(name.partition("/")[2]) for name in curves if name.startswith("memory/"))
        if ranks:
            return [("memory", "rank 0", False), *((f"memory/{rank}", f"rank {rank}", False) for rank in ranks)]
        used = "allocated" if "mem_reserved" in curves else "now"
        return [("memory", used, False), ("mem_reserved", "reserved", False), ("mem_peak", "peak", False)]

    def _choose_unit(self, curves: list[Curve]) -> None:
        newest = max((float(curve.value[-1]) for curve in curves if len(curve)), default=0.0)
        unit, name = (GIB, "GiB") if newest >= GIB else (MIB, "MiB")
        self.title = f"memory {name}"
        self._scale = 1.0 / unit
