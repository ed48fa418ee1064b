"""The firing rates of all layers in one line."""

from collections.abc import Sequence

from rich.text import Text

from rbp_engine.run.status.samples import FiringHistory
from rbp_tui.text.format import sparkline

SHORTEST_BARS = 6
SEPARATOR = "   "


def firing_text(firing: FiringHistory, width: int, more: str = "") -> Text:
    """The newest rate of each layer as a bar, and what is usual in a layer: its rate, and the shares of its neurons.

    Of little room, `more` is left out first, then the shares; there are fewer bars than layers only in the end.
    """
    rates = firing.rates[-1].mean(axis=1)
    figures = [
        f"rate {100 * rates.mean():.1f} %",
        f"silent {100 * firing.silent[-1].mean():.1f} %",
        f"saturated {100 * firing.saturated[-1].mean():.1f} %",
        "by layer",
        *([more] if more else []),
    ]
    bars = min(len(rates), max(SHORTEST_BARS, width // 2))
    while len(figures) > 1 and bars + _length(figures) > width:
        figures.pop()
    bars = max(1, min(bars, width - _length(figures)))
    line = Text(sparkline(rates.tolist(), bars, low=0.0, high=float(rates.max())), no_wrap=True)
    for number, figure in enumerate(figures):
        line.append(SEPARATOR).append(figure, "dim" if number > 2 else "")
    return line


def _length(figures: Sequence[str]) -> int:
    return sum(len(SEPARATOR) + len(figure) for figure in figures)
