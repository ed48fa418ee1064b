"""Compare: the runs that were marked, their accuracy overlaid, and one line for each experiment."""

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from rbp_engine.report.spread import spread
from rbp_engine.run.store import RunRecord
from rbp_tui import format as fmt
from rbp_tui.dashboard.screens.base import DashboardScreen, TopBar
from rbp_tui.dashboard.screens.monitor import AXES
from rbp_tui.dashboard.widgets.curve_chart import CurveChart
from rbp_tui.dashboard.widgets.series import Series
from rbp_tui.run_text import short_id

CURVES = ("validation/top1", "train/loss", "validation/loss")
SHOWN_AT_MOST = 8


class CompareScreen(DashboardScreen):
    """Without marks it takes the newest run of each experiment."""

    NAME = "compare"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "x axis", id="compare.axis"),
        Binding("v", "curve", "curve", id="compare.curve"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.curve = CURVES[0]

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield CurveChart(id="comparison")
        yield Static(id="table")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(CurveChart).focus()

    def on_screen_resume(self) -> None:
        self.dashboard.reader.watch(record.run.id for record in self._records())
        super().on_screen_resume()

    def on_screen_suspend(self) -> None:
        self.dashboard.reader.watch(())

    def _records(self) -> list[RunRecord]:
        """The runs to compare, as they still are there."""
        marked = [record for record in self.dashboard.records if record.run.id in self.dashboard.compared]
        if marked:
            return marked[-SHOWN_AT_MOST:]
        newest = {record.summary.experiment: record for record in self.dashboard.records}
        return list(newest.values())[-SHOWN_AT_MOST:]

    def runs_changed(self) -> None:
        super().runs_changed()
        self._show_table(self._records())

    def sight_changed(self) -> None:
        chart = self.query_one(CurveChart)
        axis = self.dashboard.state.x_axis if self.dashboard.state.x_axis in AXES else "epoch"
        chart.x_axis = axis  # type: ignore[assignment]  # one of AXES
        is_accuracy = self.curve.endswith("top1")
        chart.title = f"{self.curve.replace('/', ' ')}{' %' if is_accuracy else ''}"
        series = []
        for record in self._records():
            sight = self.dashboard.sights.get(record.run.id)
            curve = sight.curves.get(self.curve) if sight else None
            if curve is not None and len(curve):
                values = (100.0 if is_accuracy else 1.0) * curve.value
                best = "highest" if is_accuracy else "lowest"
                series.append(Series(record.run.id, _label(record), curve.axis(axis), values, marker=best))  # type: ignore[arg-type]
        chart.set_series(series)

    def _show_table(self, records: Sequence[RunRecord]) -> None:
        groups: dict[str, list[RunRecord]] = {}
        for record in records:
            groups.setdefault(record.summary.experiment, []).append(record)
        table = Table(box=None, header_style="dim", pad_edge=False)
        for heading in ("experiment", "n", "last %", "best %", "samples/s", "peak"):
            table.add_column(heading, justify="left" if heading == "experiment" else "right", no_wrap=True)
        for group in groups.values():
            first = group[0].summary
            table.add_row(
                f"{first.preset} {fmt.method(first.method)} T={first.timesteps}",
                str(len(group)),
                _accuracy([record.summary.last.get("top1") for record in group]),
                _accuracy([record.summary.best.get("top1") for record in group]),
                fmt.thousands(_mean([record.summary.samples_per_s for record in group])),
                fmt.size(_mean([record.summary.mem_peak for record in group])),
            )
        nothing = "No runs to compare; mark some with Space on the Runs screen."
        self.query_one("#table", Static).update(table if groups else nothing)

    def action_axis(self) -> None:
        """The next x axis: epoch, step, time."""
        state = self.dashboard.state
        position = AXES.index(state.x_axis) if state.x_axis in AXES else 0
        state.x_axis = AXES[(position + 1) % len(AXES)]
        self.query_one(CurveChart).set_view(None, None)
        self.sight_changed()

    def action_curve(self) -> None:
        """The next curve: validation accuracy, training loss, validation loss."""
        self.curve = CURVES[(CURVES.index(self.curve) + 1) % len(CURVES)]
        self.sight_changed()


def _label(record: RunRecord) -> str:
    summary = record.summary
    return f"{fmt.method(summary.method)} T={summary.timesteps} {short_id(summary)}"


def _accuracy(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    found = spread(known)
    deviation = f" ± {100.0 * found.std:.2f}" if found.std is not None else ""
    return f"{fmt.percent(found.mean)}{deviation}"


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
