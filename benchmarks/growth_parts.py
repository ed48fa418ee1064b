"""What growth.py measures within a process of its own: `python benchmarks/growth_parts.py PART [FOLDER]`.

Each part prints one JSON object.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from many_runs import PER_EPOCH

import rbp_engine
from rbp_engine import os_process
from rbp_engine.preset import load_preset
from rbp_engine.run import start
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt, newest_attempt
from rbp_engine.run.files.events import Metrics
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.history.history_reader import HistoryReader
from rbp_engine.run.launch import launch
from rbp_engine.run.queue import dispatcher, start_queued
from rbp_engine.run.queue.devices import Device, Pool
from rbp_engine.run.queue.entries import entries, has_entries, write_entry
from rbp_engine.run.queue.host_lock import locked
from rbp_engine.run.queue.observe import queued_runs
from rbp_engine.run.store.store import run_directories
from rbp_engine.run.writer import EventWriter

SLOTS = Pool(tuple(Device(f"cpu-{number}") for number in range(4)), 1)
MORE_EVENTS = 9
PATIENCE_S = 300.0


#: Looked for before and after the work, which tells strace what to count.
MARK = "/rbp-growth-mark"


def timed(work: Callable[[], object]) -> dict[str, float]:
    """The CPU time of some work, which other programs on the machine change little; the files are in memory."""
    os.path.exists(MARK)  # noqa: PTH110
    began = time.process_time()
    work()
    took = time.process_time() - began
    os.path.exists(MARK)  # noqa: PTH110
    return {"seconds": took}


def create(folder: Path) -> dict[str, float]:
    """The folder of a new run; the preset and the list of packages are read before."""
    preset = load_preset("digits")
    made = [launch.create(preset, folder)]
    took = timed(lambda: made.append(launch.create(preset, folder)))
    for run in made:
        start.shutil.rmtree(run.path)
    return took


def library(folder: Path) -> dict[str, float]:
    return timed(rbp_engine.runs)


def submit(folder: Path) -> dict[str, float]:
    """Queue all runs of the folder, as `rbp train --seeds` does after it has made them."""
    waiting = list(run_directories(folder))
    return timed(lambda: start._enqueue(waiting, 1, "cpu", Dispatch(gpus="none")))


def pass_once(folder: Path, before: int = 0) -> dict[str, float]:
    """A pass of the dispatcher, after some `before`, while the first job of the queue runs and has all the slots."""
    first = entries()[0]
    write_status(first.run, "running")
    with locked():
        write_entry(replace(first, claimed=SLOTS.devices))
    one = dispatcher.Dispatcher()
    for _ in range(before):
        one.look()
    return timed(one.look)


def shown(folder: Path) -> dict[str, float]:
    return timed(queued_runs)


def start_one(folder: Path) -> dict[str, float]:
    """What the starter of a queued run does before the worker: here the run is refused, since it has no device."""
    run = entries()[-1].run
    return timed(lambda: start_queued.start_queued(run))


def drain(folder: Path) -> dict[str, float]:
    """All passes until the queue is empty. Workers end at once, and there are no processes."""
    starting: list[RunDirectory] = []

    def helper(entry: Any, module: str, *words: str, held: Any = ()) -> Any:
        if module != dispatcher.HOOKS:
            starting.append(entry.run)
        return SimpleNamespace(poll=lambda: 0)

    def work(run: RunDirectory, *_: Any, **settings: Any) -> None:
        claim_attempt(run, AttemptRecord(1 + newest_attempt(run), os_process.here()))
        write_status(run, "completed")

    write_status(entries()[0].run, "completed")
    dispatcher._helper = helper  # type: ignore[assignment]
    start_queued.launch = SimpleNamespace(start=work)  # type: ignore[assignment]
    one = dispatcher.Dispatcher()

    def until_empty() -> None:
        while has_entries():
            one.look()
            for run in starting:
                start_queued.start_queued(run)
            starting.clear()

    return timed(until_empty)


def follow(folder: Path) -> dict[str, float]:
    """What the reader behind Monitor and `rbp watch` takes: to open a run, in memory, and for one more event."""
    process, run = psutil.Process(), RunDirectory(folder)
    reader = HistoryReader(run)
    before = process.memory_info().rss
    opened = timed(lambda: (reader.poll(), reader.history()))["seconds"]
    memory = process.memory_info().rss - before
    step = int(reader.history().curves["train/loss"].step[-1]) + 1
    writer, more = EventWriter(run.events(), 1), []
    read_before = process.io_counters().read_chars
    for number in range(MORE_EVENTS):
        writer.write(Metrics(0, 0.1, 0.9, 0.1, 1.0, 1.0, 1.0), step + number)
        more.append(timed(lambda: (reader.poll(), reader.history()))["seconds"])
    read = (process.io_counters().read_chars - read_before) / MORE_EVENTS
    return {"open": opened, "memory": memory, "one more event": statistics.median(more), "read of it": read}


def monitor(folder: Path) -> dict[str, float]:
    """The same for the whole dashboard, drawing into memory as a terminal of 120×40 cells: CPU time of all threads."""
    from rbp_tui.dashboard.app import Dashboard

    run = RunDirectory(folder)
    claim_attempt(run, AttemptRecord(1 + newest_attempt(run), os_process.here()))
    write_status(run, "running")  # what rules say of the end of a run is not looked for as long as it trains
    count = sum(1 for _ in run.events().open("rb"))

    async def visit() -> dict[str, float]:
        app = Dashboard(folder.parent)

        def newest() -> float:
            sight = app.session.sights.get(run.id)
            return float(sight.history.curves["train/loss"].step[-1]) if sight and sight.history.curves else -1.0

        async def until(step: float) -> None:
            deadline = time.monotonic() + PATIENCE_S
            while newest() < step:
                if time.monotonic() > deadline:
                    raise TimeoutError("the dashboard did not get there")
                await asyncio.sleep(0.01)

        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(1.0)
            began = time.process_time()
            app.open_run(run.id)
            await until(count - PER_EPOCH / 2)
            await pilot.pause(0.5)
            opened = time.process_time() - began
            writer, more = EventWriter(run.events(), 1), []
            for number in range(MORE_EVENTS):
                await pilot.pause(0.5)
                began = time.process_time()
                writer.write(Metrics(0, 0.1, 0.9, 0.1, 1.0, 1.0, 1.0), count + number)
                await until(count + number)
                await pilot.pause(0.2)
                more.append(time.process_time() - began)
            writer.close()
        return {"open on screen": opened, "one more event on screen": statistics.median(more)}

    return asyncio.run(visit())


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "create": create,
    "library": library,
    "submit": submit,
    "pass": pass_once,
    "pass again": lambda folder: pass_once(folder, before=2),
    "shown": shown,
    "start": start_one,
    "drain": drain,
    "follow": follow,
    "monitor": monitor,
}

if __name__ == "__main__":
    part, *words = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # the dispatcher's log
        found = PARTS[part](Path(*words))
    print(json.dumps(found))
