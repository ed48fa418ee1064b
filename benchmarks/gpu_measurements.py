"""The measurements of `make gpu`: each part of the page is a function from a report so far to lines of Markdown."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import loading
import torch

from rbp_engine.child import ChildError
from rbp_engine.cores import cores_here

LEAVE_S = 20.0
# A process needs this to load torch and take a step; with less, a part is left out.
LEAST_S = 15.0
LATE = "not done within"
RBP = [sys.executable, "-m", "rbp_tui"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of the page; `sound` is false if something failed."""

    title: str
    lines: Sequence[str]
    sound: bool = True


@dataclass
class Report:
    """What the parts share: the device, the networks, what was measured so far, and when everything has to end."""

    wanted: str
    device: torch.device
    ends: float
    rows: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def small(self) -> bool:
        return self.wanted == "cpu"

    @property
    def network(self) -> tuple[str, int]:
        """The preset of ResNet-18 and its batch; on a CPU a small one."""
        return ("digits", 8) if self.small else ("cifar10-resnet18", 128)

    def left(self) -> float:
        return self.ends - time.monotonic() - LEAVE_S

    def part(self, measure: "Measure", title: str, patience_s: float) -> Part:
        """A part, or the reason why it is missing."""
        if self.left() < LEAST_S:
            return Part(title, ["Left out: there was no time for it within ten minutes."])
        try:
            return measure(self, title, min(patience_s, self.left()))
        except Exception as error:  # the parts after it go on
            return Part(title, [f"Not measured: {type(error).__name__}: {first_line(str(error))}"], sound=False)


def run(command: Sequence[str], patience_s: float, **environment: str) -> str:
    """Run a command whose output goes to the terminal; "" if it succeeded, else how it ended."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | environment)
    try:
        code = child.wait(max(1.0, patience_s))
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)  # it writes what it has finished, and ends its children
        try:
            child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            child.kill()
        return f"{LATE} {patience_s:.0f} s"
    return f"exit code {code}" if code else ""


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def bench(
    report: Report, preset: str, words: Iterable[str], patience_s: float, **environment: str
) -> tuple[list[Row], list[str]]:
    """The rows of an `rbp bench` and its command as lines. Raises ChildError if there are none."""
    words = ["bench", preset, f"run.device={report.wanted}", *words]
    with TemporaryDirectory() as folder:
        document = Path(folder) / "bench.json"
        ended = run([*RBP, *words, "-o", str(document)], min(patience_s, report.left()), **environment)
        if not document.exists():
            raise ChildError(ended or "it has written nothing")
        rows = json.loads(document.read_text())["rows"]
    # An empty text, and variables of the environment, as a shell needs them.
    shown = [word or "''" for word in words]
    return rows, [f"`{' '.join([*(f'{name}={value}' for name, value in environment.items()), 'rbp', *shown])}`", ""]


def table(rows: Iterable[Row]) -> list[str]:
    """The rows of `rbp bench`; ratios are those to SpikingJelly at its best, and to their own floor."""
    lines = [
        "| | T | step, ms | images/s | memory, MiB | time / SpikingJelly | memory / SpikingJelly | time / floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["problem"]:
            lines.append(f"| {named(row)} | {row['timesteps']} | {first_line(row['problem'])} | | | | | |")
            continue
        ratios = " | ".join("" if row[key] is None else f"{row[key]:.2f}" for key in ("time", "memory", "over_floor"))
        memory = "" if row["peak"] is None else f"{row['peak'] / 2**20:.0f}"  # if it was interrupted
        figures = f"{1000 * row['seconds']:.1f} | {row['samples_per_s']:.0f} | {memory}"
        lines.append(f"| {named(row)} | {row['timesteps']} | {figures} | {ratios} |")
    return lines


def named(row: Row) -> str:
    return ", ".join(row[key] for key in ("method", "precision", "kernel", "layout", "setting") if row.get(key))


def sound(rows: Iterable[Row]) -> bool:
    return not any(row["problem"] for row in rows)


def row_of(rows: Iterable[Row], method: str, precision: str) -> Row | None:
    found = (row for row in rows if (row["method"], row["precision"]) == (method, precision))
    return next((row for row in found if not row["problem"]), None)


def goal(report: Report, what: str, figure: float | None, limit: float) -> str:
    """A line that holds a figure against what it should be; on a CPU, with a small network, it does not judge."""
    reached = "reached" if figure is not None and figure <= limit else "NOT reached"
    judged = "" if report.small or figure is None else f", {reached}"
    return f"- Goal: {what} ≤ {limit:.2f}. Here: {'not measured' if figure is None else f'{figure:.2f}'}{judged}."


def steps(report: Report, title: str, patience_s: float) -> Part:
    preset, batch = report.network
    words = [f"batch={batch}", "T=4", "method=rate_m", "train.precision=fp32,bf16"]
    words += ["train.kernel=compiled", "--against", "spikingjelly,memopt,checkpoint,ann", "--repeats", "2"]
    # On a card SpikingJelly takes its native kernels where somebody has built them, but most have Triton's.
    kernels = {} if report.small else {"SJ_LIF_CUDA_IMPLEMENTATION": "triton"}
    rows, lines = bench(report, preset, words, patience_s, **kernels)
    report.rows["steps"] = rows
    low, full = row_of(rows, "rate_m", "bf16"), row_of(rows, "rate_m", "fp32")
    lines += [*table(rows), ""]
    lines += [goal(report, "time of rate_M in bf16 / SpikingJelly's Triton BPTT", low and low["time"], 0.33)]
    lines += [goal(report, "time of rate_M / floor of its own convolutions", full and full["over_floor"], 1.15)]
    lines += ["", "SpikingJelly and the ANN compute in float32, which a card's convolutions treat as TF32."]
    return Part(title, lines, sound(rows))


def memory(report: Report, title: str, patience_s: float) -> Part:
    preset, batch = report.network
    words = [f"batch={batch}", "T=1,4,16", "method=rate_m,bptt", "train.kernel=compiled"]
    rows, lines = bench(report, preset, [*words, "--against", "", "--repeats", "1"], patience_s)
    peaks = {(row["method"], row["timesteps"]): row["peak"] for row in rows if not row["problem"]}
    first, last = (peaks.get(("rate_m", timesteps)) for timesteps in (4, 16))
    grown = last / first if first and last else None
    # A network that does not fit is a finding about BPTT, and no fault.
    ours = [row for row in rows if row["method"] == "rate_m"]
    return Part(
        title, [*lines, *table(rows), "", goal(report, "memory of rate_M, T = 16 / T = 4", grown, 1.1)], sound(ours)
    )


def networks(report: Report, title: str, patience_s: float) -> Part:
    wanted = [("imagenet-sew_resnet34", 32), ("cifar10-spikformer", 64)]
    if report.small:
        wanted = [("cifar10-spikformer", 2)]  # SpikingJelly has no smaller one
    words = ["T=4", "method=rate_m", "train.precision=fp32,bf16", "train.kernel=compiled"]
    lines, all_rows = [], []
    for preset, batch in wanted:
        given = [f"batch={batch}", *words, "--against", "spikingjelly", "--repeats", "1"]
        rows, command = bench(report, preset, given, patience_s / len(wanted))
        report.rows[preset] = rows
        all_rows += rows
        lines += [*command, *table(rows), ""]
    return Part(title, lines, sound(all_rows))


def pipeline(report: Report, title: str, patience_s: float) -> Part:
    workers = [each for each in (0, 1, 2, 4, 8, 16, 32) if each <= cores_here()]
    lines = ["JPEGs of 500×375 pixels, read, cropped to 224×224 and flipped on the CPU.", ""]
    with TemporaryDirectory() as folder:
        rates = loading.measure(loading.photographs(Path(folder) / "photographs", workers), rounds=1)
    lines += ["| | workers | images/s |", "|---|---|---|"]
    lines += [f"| {what} | {readers} | {rate:.0f} |" for (what, readers), rate in rates.items()]
    lines += ["", "Needed, by the steps above:", ""]
    needed = [(preset, row) for preset, rows in report.rows.items() for row in rows if row["method"] == "rate_m"]
    lines += [
        f"- {preset.replace('steps', report.network[0])}, {named(row)}: {row['samples_per_s']:.0f} images/s"
        for preset, row in needed
        if not row["problem"]
    ]
    return Part(title, lines)


def others(report: Report, title: str, patience_s: float) -> Part:
    preset, batch = report.network
    words = [f"batch={batch}", "T=4,8", "method=rate_m,rate_s,bptt", "train.kernel=compiled"]
    rows, lines = bench(report, preset, [*words, "--against", "spikingjelly,ann", "--repeats", "1"], patience_s)
    return Part(title, [*lines, *table(rows)], sound(rows))


def latency(report: Report, title: str, patience_s: float) -> Part:
    preset, _ = report.network
    rows, lines = bench(report, preset, ["--latency", "--repeats", "1"], patience_s)
    lines += ["| | prediction, ms | step, ms |", "|---|---|---|"]
    for row in rows:
        if row["problem"]:
            lines.append(f"| {named(row)} | {first_line(row['problem'])} | |")
        else:
            lines.append(f"| {named(row)} | {1000 * row['predict_seconds']:.2f} | {1000 * row['seconds']:.2f} |")
    return Part(title, lines, sound(rows))


Measure = Callable[[Report, str, float], Part]

#: Each measurement with its title and the most seconds that it may take, the most valuable first.
MEASURED: tuple[tuple[Measure, str, float], ...] = (
    (steps, "Training steps, T = 4", 190.0),
    (memory, "Memory against T", 90.0),
    (networks, "SEW-ResNet-34 and Spikformer-4-384", 110.0),
    (pipeline, "Input pipeline", 45.0),
    (latency, "Latency of one image", 60.0),
    (others, "Other methods", 150.0),
)
