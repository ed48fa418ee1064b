"""Milliseconds to redraw a chart of 120×40 cells, from new data to rows of styled text; medians.

Budgets: 8 ms for 4 series of 10 000 points, 40 ms for one of 1 000 000 points. It measures the CPU time of the drawing
thread, so other work on the machine matters little.
"""

import asyncio
import statistics
import time
from collections.abc import Callable

import numpy as np
from textual.app import App, ComposeResult

from rbp_tui.charts.series import Series
from rbp_tui.dashboard.charts.curve_chart import CurveChart

ROUNDS = 41
SIZE = (120, 40)


class OneChart(App[None]):
    """A chart that fills the terminal."""

    def compose(self) -> ComposeResult:
        yield CurveChart("loss")


def noisy(points: int, count: int) -> list[Series]:
    """Falling curves with noise, the worst case: every column has many dots."""
    draw = np.random.default_rng(0)
    steps = np.arange(points, dtype=np.float64)
    falling = np.exp(-4 * steps / points)
    return [
        Series(str(number), f"run {number}", steps, falling + number / 4 + draw.normal(0, 0.05, points))
        for number in range(count)
    ]


def median(work: Callable[[int], None]) -> float:
    times = []
    for number in range(ROUNDS):
        start = time.thread_time()
        work(number)
        times.append(1000 * (time.thread_time() - start))
    return statistics.median(times)


def redraw(chart: CurveChart) -> None:
    for row in range(SIZE[1]):
        chart.render_line(row)


async def main() -> None:
    app = OneChart()
    async with app.run_test(size=SIZE) as pilot:
        chart = app.query_one(CurveChart)
        draw = np.random.default_rng(1)
        await pilot.pause()
        for points, count in ((10_000, 4), (1_000_000, 1)):
            whole = noisy(points, count)
            # New arrays, as after new points have arrived, so that the chart cannot reuse its last drawing.
            versions = [[Series(s.key, s.label, s.x[:end], s.y[:end]) for s in whole] for end in (points, points - 1)]

            def new_data(number: int, versions: list[list[Series]] = versions) -> None:
                chart.set_series(versions[number % 2])
                redraw(chart)

            shaken = [
                [Series(s.key, s.label, np.sort(s.x + draw.normal(0, 0.3, len(s.x))), s.y) for s in version]
                for version in versions
            ]

            def uneven(number: int, shaken: list[list[Series]] = shaken) -> None:
                chart.set_series(shaken[number % 2])
                redraw(chart)

            def zoom(number: int, points: int = points) -> None:
                chart.set_view(points * (0.1 + number / 1000), points * 0.95)
                redraw(chart)

            def nothing_new(_: int, series: list[Series] = whole) -> None:
                chart.set_series([Series(s.key, s.label, s.x.copy(), s.y.copy()) for s in series])
                redraw(chart)

            print(f"{count} × {points} points, {SIZE[0]}×{SIZE[1]} cells")
            for smoothing in (0.0, 0.9):
                chart.smoothing = smoothing
                chart.set_view(None)
                print(f"  smoothing {smoothing}: new data {median(new_data):6.1f} ms")
                if smoothing:
                    print(f"  smoothing {smoothing}: uneven   {median(uneven):6.1f} ms")
                print(f"  smoothing {smoothing}: zoomed   {median(zoom):6.1f} ms")
            chart.smoothing = 0.0
            chart.y_log = True
            print(f"  log y:         new data {median(new_data):6.1f} ms")
            chart.y_log = False
            chart.set_series(whole)
            print(f"  same data, copied       {median(nothing_new):6.1f} ms")


asyncio.run(main())
