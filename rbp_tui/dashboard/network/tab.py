"""What a tab of the Network screen is, and what those over the samples of a probe have in common."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget

from rbp_engine.printable import one_line
from rbp_engine.run.history.samples import Floats, ProbeHistory
from rbp_engine.run.store.run_settings import read_settings
from rbp_tui.charts.layer_rows import LayerRows
from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line


class LayersAndCharts(Container):
    """The caption of a table, the table, and below it one chart or two beside each other.

    A tab handles `LayerTable.RowHighlighted` to draw the charts of another layer.
    """

    def __init__(self, *charts: str) -> None:
        """`charts` are the titles of the charts."""
        super().__init__()
        self.caption = Line()
        self.table = LayerTable()
        self.charts = [CurveChart(title) for title in charts]

    def compose(self) -> ComposeResult:
        yield self.caption
        yield self.table
        yield Container(*self.charts)

    def show(self, rows: LayerRows) -> None:
        """Show these rows in the table."""
        self.caption.show_text(Text.assemble((f" {rows.title}", "bold"), (f"  {rows.note}", "dim")))
        self.table.show_columns(rows.columns)

    def draw(
        self, samples: ProbeHistory, series: Sequence[Series], title: str | None = None, *, chart: int = 0
    ) -> None:
        """Draw what was sampled over training in one of the charts, under this title or the one that it has."""
        drawn = self.charts[chart]
        drawn.x_axis = "epoch" if x_of(samples) is samples.epoch else "step"
        drawn.title = drawn.title if title is None else title
        drawn.set_series(series)


def foreign(sight: Sight) -> str:
    """Why a tab has nothing, if another program trains the run; empty for a run of rbp."""
    if not sight.summary.program:
        return ""
    own = ": its own metrics are in the tab Own" if sight.history.own is not None else ""
    return f"{one_line(sight.summary.program)} made this run, not rbp{own}."


def setting_of(sight: Sight, key: str) -> object:
    """A setting of the run, as `probes.health`; None if it is not known."""
    return read_settings(sight.run).get(key)


def first_sample(sight: Sight) -> str:
    """After how many steps the first sample comes, in words."""
    return f"after {setting_of(sight, 'train.log_every') or 'train.log_every'} steps"


class NetworkTab(Vertical):
    """A tab. Only the one that is open shows the run, at each of its events and when the cursor moves.

    Its charts are over what `x_of` says, so that they share the cursor.
    """

    TITLE: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        nothing = Line(wraps=True)
        nothing.add_class("nothing")
        yield nothing
        yield from self.panes()

    def panes(self) -> Iterable[Widget]:
        """The widgets of the tab."""
        return ()

    def show(self, sight: Sight | None, step: float | None) -> None:
        """Draw the run as it was at an optimizer step, that of the cursor; None is the newest."""

    def steps(self, sight: Sight) -> Floats:
        """The steps that have something to show, in ascending order: replay goes through them."""
        return np.empty(0)

    def say_nothing_yet(self, why: str) -> None:
        """In the place of the panes, say why there is nothing, and what to do; empty shows the panes again."""
        self.set_class(bool(why), "-nothing")
        self.query_one(".nothing", Line).show_text(Text(why, "dim"))


def x_of(samples: ProbeHistory) -> Floats:
    """The place of each sample: epochs, or steps in a run that does not tell how many an epoch has."""
    return samples.epoch if np.isfinite(samples.epoch).all() else samples.step


H = TypeVar("H", bound=ProbeHistory)


class SampledTab(NetworkTab, Generic[H]):
    """Draws its tables when the cursor reaches another sample, and its charts when there are new samples."""

    #: What it is in a history.
    PROBE: ClassVar[str] = ""
    _shown: tuple[H, int] | None = None  # the samples and the number of the one that is shown

    def samples(self, sight: Sight) -> H | None:
        """The samples of the run; None if there are none."""
        found: H | None = getattr(sight.history, self.PROBE)
        return found

    def why_nothing(self, sight: Sight) -> str:
        """Why a run has no samples, and what to do to have some."""
        raise NotImplementedError

    def draw(self, samples: H, number: int, sight: Sight) -> None:
        """Draw the tables at one sample."""
        raise NotImplementedError

    def draw_charts(self, samples: H) -> None:
        """Draw what is selected over training."""
        raise NotImplementedError

    def steps(self, sight: Sight) -> Floats:
        samples = self.samples(sight)
        return samples.step if samples is not None else np.empty(0)

    def show(self, sight: Sight | None, step: float | None) -> None:
        samples = self.samples(sight) if sight is not None else None
        if sight is None or samples is None:
            self.say_nothing_yet("reading…" if sight is None else foreign(sight) or self.why_nothing(sight))
            self._shown = None
            return
        self.say_nothing_yet("")
        number = len(samples.step) - 1 if step is None else samples.at(step)  # the newest, or the nearest
        before, self._shown = self._shown, (samples, number)
        new = before is None or before[0] is not samples
        if new or self._shown != before:
            self.draw(samples, number, sight)
        if new:
            self.draw_charts(samples)

    @on(LayerTable.RowHighlighted)
    def _another_layer(self) -> None:
        if self._shown is not None:
            self.draw_charts(self._shown[0])
