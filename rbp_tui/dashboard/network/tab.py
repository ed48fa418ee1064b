"""What a tab of the Network screen is."""

from collections.abc import Iterable
from typing import ClassVar, Protocol

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from rbp_engine.printable import one_line
from rbp_engine.run.status.samples import Floats
from rbp_tui.charts.ticks import XUnit
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.dashboard.text_line import Line


class Sampled(Protocol):
    """What was sampled over training, the oldest first."""

    @property
    def step(self) -> Floats: ...

    @property
    def epoch(self) -> Floats: ...

    def at(self, step: float) -> int:
        """The number of the sample nearest to a step."""
        ...


def foreign(sight: Sight) -> str:
    """Why a tab has nothing, if another program trains the run; empty for a run of rbp."""
    if not sight.summary.program:
        return ""
    return f"{one_line(sight.summary.program)} trains this run, not rbp: what it logs of its own is in the tab Own."


class NetworkTab(Vertical):
    """A tab. Only the one that is open is told to show the run, at each of its events and when the cursor moves.

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
        return sight.history.firing.step if sight.history.firing is not None else np.empty(0)

    def say_nothing_yet(self, why: str) -> None:
        """In the place of the panes, say why there is nothing, and what to do; empty shows the panes again."""
        self.set_class(bool(why), "-nothing")
        self.query_one(".nothing", Line).show_text(Text(why, "dim"))


def sample_at(samples: Sampled, step: float | None) -> int:
    """The number of the sample that is shown at a step: the nearest, or the newest."""
    return -1 if step is None else samples.at(step)


def x_axis_of(samples: Sampled) -> XUnit:
    """What charts over training are drawn over: epochs, or steps in a run that does not tell how many an epoch has."""
    return "epoch" if np.isfinite(samples.epoch).all() else "step"


def x_of(samples: Sampled) -> Floats:
    """The place of each sample on that axis."""
    return samples.epoch if x_axis_of(samples) == "epoch" else samples.step
