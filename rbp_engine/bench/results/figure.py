"""The figure of a comparison: peak memory and time of a step against T, like the paper's Fig. 4."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rbp_engine.bench.measure.interleave import StepMeasurement
from rbp_engine.bench.results.comparison import ComparisonRow, in_words
from rbp_engine.report import figure
from rbp_engine.report.panels import BLACK, GREEN, METHOD_COLOURS, PURPLE, Panel, PanelLine, lines_of, memory_and_time
from rbp_engine.report.spread import Spread

GREY = "#999999"
COLOURS = METHOD_COLOURS | {
    "spikingjelly": BLACK,
    "memopt": GREEN,
    "checkpoint": PURPLE,
    "ann": GREY,
}


def title(row: ComparisonRow, separator: str = ", ") -> str:
    """A row's title in legends, like `rate_M, bf16, compiled`; fp32 goes without saying."""
    precision = row.precision if row.precision != "fp32" else ""
    return separator.join(filter(None, (in_words(row.method), precision, row.kernel, row.layout)))


def draw(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Draw the rows; the suffix of `path` is the format. Raises RunError for a path that cannot be written."""
    figure.write([panels(rows)], path)


def panels(rows: Sequence[ComparisonRow]) -> list[Panel]:
    """Panels of memory and time; a line per way to train."""
    memory = _lines(rows, lambda measured: measured.peak)
    times = _lines(rows, lambda measured: 1000 * measured.seconds)
    return memory_and_time(memory, times)


def _lines(rows: Sequence[ComparisonRow], value: Callable[[StepMeasurement], float | None]) -> tuple[PanelLine, ...]:
    methods = {title(row): row.method for row in rows}
    points: dict[str, dict[int, Spread]] = {name: {} for name in methods}
    for row in rows:
        if row.measured is not None and (known := value(row.measured)) is not None:
            points[title(row)][row.timesteps] = Spread(known, None, 1)
    return lines_of(list(methods), list(methods.values()), list(points.values()), COLOURS)
