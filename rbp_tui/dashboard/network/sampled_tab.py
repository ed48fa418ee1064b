"""A tab over the samples of one probe: what those tabs have in common."""

from typing import Generic, TypeVar

import numpy as np
from textual import on

from rbp_engine.run.status.samples import Floats
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.network.tab import NetworkTab, Sampled, foreign, sample_at
from rbp_tui.dashboard.reading.reader import Sight

H = TypeVar("H", bound=Sampled)


class SampledTab(NetworkTab, Generic[H]):
    """Draws its tables when the cursor reaches another sample, and its charts when there are new samples."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[H, int] | None = None  # the samples and the number of the one that is shown

    def samples(self, sight: Sight) -> H | None:
        """The samples of the run; None if there are none."""
        raise NotImplementedError

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
        number = sample_at(samples, step) % len(samples.step)
        if self._shown is not None and self._shown[0] is samples and self._shown[1] == number:
            return
        new = self._shown is None or self._shown[0] is not samples
        self._shown = samples, number
        self.draw(samples, number, sight)
        if new:
            self.draw_charts(samples)

    @on(LayerTable.RowHighlighted)
    def _another_layer(self) -> None:
        if self._shown is not None:
            self.draw_charts(self._shown[0])
