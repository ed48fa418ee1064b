"""What a live Monitor and a live Network cost, and how fast Monitor is.

With a real dashboard in its own terminal and the files of a real run.

Budgets: 15 % of a core while the run writes 10 events a second; 250 ms from an event to the screen, median; 0.8 s from
the start to the first frame, median.
"""

import contextlib
import os
import pty
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil

from rbp_engine import os_process
from rbp_engine.preset import load_preset
from rbp_engine.run.files.attempts import AttemptRecord, claim_attempt
from rbp_engine.run.files.events import FiringRates, Metrics, RunStart, System, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary, write_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.writer import EventWriter

EVENTS_PER_S = 10
LISTENED_S = 20.0
SETTLED_S = 4.0
STARTS = 7
STEPS_PER_EPOCH, EPOCHS = 100, 1000
MONITOR, NETWORK = "3", "6"
LAYERS, TIMESTEPS = 60, 4


class Terminal:
    """A dashboard in a terminal of `columns` × `rows`, and everything that it has drawn."""

    def __init__(self, runs: Path, home: Path, columns: int, rows: int) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "RBP_RUNS": str(runs)}
        environment |= {"HOME": str(home), "XDG_STATE_HOME": str(home)}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from rbp_tui.cli import main; main()"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.drawn = bytearray()

    def read(self, seconds: float) -> None:
        """Return as soon as the dashboard draws something, or after that time."""
        if select.select([self.master], [], [], max(0.0, seconds))[0]:
            self.drawn += os.read(self.master, 1 << 16)

    def read_until(self, text: str) -> float:
        """Seconds from the start until the text has been drawn."""
        while text.encode() not in self.drawn:
            self.read(1.0)
        return time.perf_counter() - self.started

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> None:
        self.process.terminate()
        with contextlib.suppress(OSError):  # the process may have closed its end already
            while self.process.poll() is None:
                self.read(0.1)
        self.process.wait()
        os.close(self.master)


class Run:
    """A run that writes a worker's events whenever `tell` is called."""

    def __init__(self, runs: Path, told_before: int) -> None:
        self.run: RunDirectory = launch.create(load_preset("digits", [f"epochs={EPOCHS}"]), runs)
        self.events = EventWriter(self.run.events(), attempt=1)
        summary = read_summary(self.run)
        assert summary is not None
        self.summary = summary
        self.summary.status, self.summary.steps = "running", STEPS_PER_EPOCH * EPOCHS
        me = os_process.here()
        claim_attempt(self.run, AttemptRecord(1, me, me, time.time()))
        self.log = self.run.stdout().open("a")
        names = [f"layer{number}" for number in range(LAYERS)]
        start = RunStart(device="cpu", host="here", steps_per_epoch=STEPS_PER_EPOCH, epochs=EPOCHS, neuron_layers=names)
        self.events.write(start, 0)
        self.written = 0
        for _ in range(told_before):
            self.tell()

    def tell(self) -> str:
        """Write the next events; returns the text that the Monitor will show for them."""
        self.written += 1
        step, shown = self.written, 10_000 + self.written
        loss = 2.3 / (1 + step / 1000) + 0.1 * (step % 7) / 7
        self.events.write(Metrics(step // STEPS_PER_EPOCH, loss, 1 - loss / 3, 0.1, float(shown), 26.6, 0.8), step)
        rates = [[0.3 * ((7 * layer + step + t) % 11) / 11 for t in range(TIMESTEPS)] for layer in range(LAYERS)]
        self.events.write(FiringRates(rates, [0.1] * LAYERS, [0.0] * LAYERS), step)
        if self.written % (2 * EVENTS_PER_S) == 0:
            self.events.write(System(rss=600_000_000 + 1000 * step, mem_peak=700_000_000 + 1000 * step), step)
        if self.written % (5 * EVENTS_PER_S) == 0:
            self.events.write(Validation(step // STEPS_PER_EPOCH, loss, 1 - loss / 3, 0.9, 360), step)
            self.log.write(f"epoch {step // STEPS_PER_EPOCH}: test loss {loss:.4f}\n")
            self.log.flush()
        if self.written % (EVENTS_PER_S // 2) == 0:
            self.summary.step = self.written
            self.summary.progressed = time.time()
            write_summary(self.run, self.summary)
        return f"{shown:,} samples/s".replace(",", "\u202f")


def live(home: Path, told_before: int, columns: int, rows: int, key: str = MONITOR) -> None:
    """The share of a core that a Monitor or a Network takes, and the time from an event to the screen of a Monitor."""
    runs = Path(tempfile.mkdtemp(dir=home))
    run = Run(runs, told_before)
    terminal = Terminal(runs, home, columns, rows)
    terminal.read_until("Presets")
    terminal.press(key)
    latencies: list[float] = []
    waiting: dict[str, float] = {}
    process = psutil.Process(terminal.process.pid)
    began = time.perf_counter()
    used = process.cpu_times()
    measuring = False
    due = began
    while (now := time.perf_counter()) < began + SETTLED_S + LISTENED_S:
        if not measuring and now > began + SETTLED_S:
            measuring, used = True, process.cpu_times()
            waiting.clear()
        if now >= due:
            due += 1 / EVENTS_PER_S
            waiting[run.tell()] = now
        terminal.read(due - time.perf_counter())
        if key != MONITOR:  # it does not show the speed, which tells which event is on the screen
            terminal.drawn.clear()
            continue
        seen = [text for text in waiting if text.encode() in terminal.drawn]
        if seen:  # earlier events that were never drawn have been superseded
            names = list(waiting)
            drawn = time.perf_counter()
            latencies += [drawn - waiting.pop(text) for text in names[: names.index(seen[-1]) + 1]]
            terminal.drawn.clear()
    after = process.cpu_times()
    terminal.close()
    share = (after.user + after.system - used.user - used.system) / LISTENED_S
    shown = "Monitor" if key == MONITOR else f"Network of {LAYERS} layers"
    print(f"{shown}, {columns}×{rows}, {told_before} steps before, {EVENTS_PER_S} a second:")
    print(f"  core        {100 * share:5.1f} %")
    if latencies:
        print(f"  to screen   {1000 * statistics.median(latencies):5.0f} ms, 90 % {1000 * _high(latencies):.0f} ms")


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=10)[-1]


def first_frame(home: Path) -> None:
    """Seconds from the start of `rbp` to its first frame."""
    runs = home / "runs-first"
    Run(runs, 100)
    times, worked = [], []
    for _ in range(STARTS):
        terminal = Terminal(runs, home, 80, 24)
        times.append(terminal.read_until("Presets"))
        used = psutil.Process(terminal.process.pid).cpu_times()
        worked.append(used.user + used.system)
        terminal.close()
    print(f"first frame   {statistics.median(times):.2f} s, of {STARTS} from {min(times):.2f} to {max(times):.2f} s")
    print(f"  of a core   {statistics.median(worked):.2f} s, which other work on the machine hardly changes")


def main() -> None:
    home = Path(tempfile.mkdtemp())
    try:
        first_frame(home)
        live(home, 100, 80, 24)
        # Below 34 rows, so that there is the line of speed, which tells which event is on the screen.
        live(home, 2000, 120, 33)
        live(home, 100_000, 120, 33)
        live(home, 2000, 160, 45, NETWORK)
    finally:
        shutil.rmtree(home)


main()
