"""How long the dashboard takes with many runs and with long runs, in milliseconds.

Budgets: 2 000 runs are listed within 1 s, a run of 100 000 events is open within 1 s, an event is on the screen within
250 ms. "on screen" measures the whole application, drawing into memory as a terminal of 120×40 cells; `nothing new` is
the cost of one half-second poll of the reader when no file has changed. On a busy machine the CPU time is more
reliable.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from many_runs import make_runs, write_events

from rbp_engine.run.files.event_writer import EventWriter
from rbp_engine.run.files.events import Metrics
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.history_reader import read_history
from rbp_engine.run.store import run_settings
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.monitor.screen import MonitorScreen
from rbp_tui.dashboard.reading.run_list import RunListing
from rbp_tui.dashboard.runs.rows import RowMaker, TableView
from rbp_tui.dashboard.runs.screen import RunsScreen
from rbp_tui.dashboard.runs.table import RunTable

RUNS = 2_000
EVENTS = 100_000
ROUNDS, VISITS, EVENTS_SEEN = 9, 3, 5
PATIENCE_S = 60.0
SIZE = (120, 40)


def differences(records: Sequence[RunRecord]) -> None:
    run_settings.forget()
    assert run_settings.differing_settings(records) == ["optim.lr", "run.seed", "neuron.surrogate_args.alpha"]


@dataclass
class Stopwatch:
    """Seconds since it was created: wall-clock time, and CPU time of all threads of this process."""

    clock: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=time.process_time)

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.clock, time.process_time() - self.cpu


def timed(name: str, budget: str, work: Callable[[], object], rounds: int = ROUNDS) -> None:
    times = []
    for _ in range(rounds):
        watch = Stopwatch()
        work()
        times.append(watch.read())
    tell(name, times, budget)


def tell(name: str, times: list[tuple[float, float]], budget: str = "") -> None:
    clock, cpu = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:44} {clock:8.1f} {cpu:8.1f}   {budget}")


def open_events(run: RunDirectory) -> None:
    assert len(read_history(run).curves["train/loss"]) > EVENTS / 2


async def until(condition: Callable[[], object], watch: Stopwatch | None = None) -> tuple[float, float]:
    """Wait until the condition holds; the time since the watch was created, or since the call if there is none."""
    watch = watch or Stopwatch()
    while not condition():
        if watch.read()[0] > PATIENCE_S:
            raise TimeoutError("the dashboard did not get there")
        await asyncio.sleep(0.002)
    return watch.read()


async def with_the_screen(runs: Path, long_run: RunDirectory) -> dict[str, list[tuple[float, float]]]:
    """The times of one visit: to the first rows, to all rows, to open a long run, and to show new events."""
    run_settings.forget()
    watch = Stopwatch()
    app = Dashboard(runs)
    async with app.run_test(size=SIZE) as pilot:
        await until(lambda: isinstance(app.screen, RunsScreen))
        table = app.screen.query_one(RunTable)
        first = await until(lambda: table.row_count and table.display, watch)
        filled = await until(lambda: table.row_count == RUNS, watch)
        await pilot.pause(1.0)
        app.open_run(long_run.id)
        opened = await until(lambda: points(app, long_run) > EVENTS / 2)
        await pilot.pause(1.0)
        writer = EventWriter(long_run.events(), 1)
        seen = []
        for number in range(EVENTS_SEEN):
            await asyncio.sleep(0.33)
            before = points(app, long_run)
            writer.write(Metrics(0, 0.1, 0.9, 0.1, 1.0, 1.0, 1.0), EVENTS + number)
            seen.append(await until(partial(more_points, app, long_run, before)))
        writer.close()
    return {"first": [first], "filled": [filled], "opened": [opened], "seen": seen}


def points(app: Dashboard, run: RunDirectory) -> int:
    sight = app.session.sight_of(run.id)
    curve = sight.history.curves.get("train/loss") if sight and isinstance(app.screen, MonitorScreen) else None
    return 0 if curve is None else len(curve)


def more_points(app: Dashboard, run: RunDirectory, before: int) -> bool:
    return points(app, run) > before


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = os.environ["RBP_CONFIG"] = f"{folder}/own"
        runs = Path(folder) / "runs"
        print("making runs …")
        made = make_runs(runs, RUNS)
        write_events(made[-1], EVENTS)
        print(f"{'medians of milliseconds':44} {'clock':>8} {'CPU':>8}")
        timed(f"first listing of {RUNS} runs", "budget 1000", lambda: RunListing(runs).all())
        listing = RunListing(runs)
        records = listing.all()
        timed("nothing new: look at all runs", "", listing.all)
        timed("nothing new: look at the live ones", "", listing.live)
        timed("settings of all runs read, and what differs", "", lambda: differences(records))
        timed("rows of the table, first", "", lambda: RowMaker().rows(records, TableView(width=117), set(), {}))
        maker = RowMaker()
        maker.rows(records, TableView(width=117), set(), {})
        timed("rows of the table, nothing new", "", lambda: maker.rows(records, TableView(width=117), set(), {}))
        timed(f"{EVENTS} events read", "budget 1000", lambda: open_events(made[-1]), rounds=5)
        visits = [asyncio.run(with_the_screen(runs, made[-1])) for _ in range(VISITS)]
        for part, name, budget in (
            ("first", "start until the first rows are on screen", ""),
            ("filled", f"start until all {RUNS} rows are there", "budget 1000"),
            ("opened", f"a run of {EVENTS} events opened in Monitor", "budget 1000"),
            ("seen", "an event on screen after it was written", "budget 250"),
        ):
            tell(name, [times for visit in visits for times in visit[part]], budget)


main()
