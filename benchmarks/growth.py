"""How cost grows with work: each quantity at sizes that are factors apart, and its exponent over the last decade.

    python benchmarks/growth.py timesteps depth runs queue events [--sizes 10,100,1000] [-o growth.json]
    python benchmarks/growth.py --draw growth.svg -o growth.json

An exponent of 1 is linear, 0 constant. `-o` adds to the results of earlier calls, so that the axes can be measured one
after the other; `--draw` draws them all. Everything is measured in a fresh process, with the median of `--rounds`; the
files are in the page cache. Operations are system calls that name a file or folder below the one that grows, counted by
strace, and have no noise; without strace they are left out. `TMPDIR=/dev/shm` saves the disk a hundred thousand small
files.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import growth_parts
from many_runs import make_runs, write_events

ROOT = Path(__file__).parents[1]
RBP = [sys.executable, "-m", "rbp_tui"]
PART = [sys.executable, growth_parts.__file__]
IDLE = ["digits", f"arch={ROOT}/tests/idle/idle.py:net", "train.kernel=eager", "epochs=1000"]
METHODS = "rate_m,rate_s,bptt"
PLAIN = '''
from torch import nn


def plain(*, num_classes, in_channels, neuron, depth):
    """A stack of `depth` convolutions, each with batch norm and neurons; images of any size."""
    layers = []
    for number in range(depth):
        channels = 32 if number else in_channels
        layers += [nn.Conv2d(channels, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), neuron()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))
'''


@dataclass(frozen=True)
class Point:
    """A `value` in `unit` of one quantity of an axis at one size."""

    axis: str
    quantity: str
    unit: str
    size: int
    value: float


def timesteps(sizes: Sequence[int], folder: Path, rounds: int) -> Iterator[Point]:
    """A training step of VGG-11 on 4 images of 32×32, against T."""
    for size in sizes:
        words = ["cifar10-vgg11", "batch=4", f"T={size}"]
        yield from _steps("timesteps", size, words, rounds)


def depth(sizes: Sequence[int], folder: Path, rounds: int) -> Iterator[Point]:
    """A training step of a plain stack of convolutions of 32 channels on 4 images of 32×32, T = 4, against layers."""
    (folder / "nets.py").write_text(PLAIN)
    for size in sizes:
        words = ["cifar10-vgg11", f"arch={folder}/nets.py:plain", f"model.args.depth={size}"]
        yield from _steps("depth", size, [*words, "batch=4", "T=4"], rounds)


def _steps(axis: str, size: int, words: Sequence[str], rounds: int) -> Iterator[Point]:
    fixed = [f"method={METHODS}", "--against", "", "train.kernel=eager", "--repeats", str(rounds), "--json"]
    done = subprocess.run(
        [*RBP, "bench", *words, *fixed], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    for row in json.loads(done.stdout)["rows"]:
        for quantity, unit, key in (
            ("time", "s", "cpu_seconds"),
            ("memory", "bytes", "peak"),
            ("saved", "bytes", "saved"),
        ):
            yield Point(axis, f"{row['method']}, {quantity}", unit, size, row[key])


def runs(sizes: Sequence[int], folder: Path, rounds: int) -> Iterator[Point]:
    """Starts, lists and reports against the runs in the runs directory."""
    there = folder / "runs"
    made = 0
    for size in sizes:
        make_runs(there, size - made, first=made)
        made = size
        for quantity, words in (
            ("rbp train --dry-run", [*RBP, "train", "digits", "--dry-run"]),
            ("a new run's folder", [*PART, "create", str(there)]),
            ("rbp ls -n 20", [*RBP, "ls", "-n", "20"]),
            ("rbp ls", [*RBP, "ls"]),
            ("rbp ls, a query", [*RBP, "ls", "lr=0.05 acc>0.9 note:compare"]),
            ("rbp_engine.runs()", [*PART, "library"]),
            ("rbp report", [*RBP, "report"]),
        ):
            yield from _measured("runs", quantity, size, words, there, rounds)
        yield from _started("runs", size, there)


def _started(axis: str, size: int, there: Path) -> Iterator[Point]:
    """`rbp train --detach`, which returns when the worker has imported torch and started."""
    name = "rbp train --detach"
    _, counts = _operations([*RBP, "train", *IDLE, "--detach", "--id", "grown"], there, follow=False)
    subprocess.run([*RBP, "stop", "--now", "grown"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(there / "grown")
    yield from (Point(axis, name, unit, size, count) for unit, count in counts.items())


def queue(sizes: Sequence[int], folder: Path, rounds: int) -> Iterator[Point]:
    """The dispatcher against the jobs that wait."""
    for size in sizes:
        here = folder / f"queue-{size}"
        os.environ["XDG_STATE_HOME"] = str(here)
        waiting = make_runs(here / "runs", size)
        for quantity, part in (
            ("submit all", "submit"),
            ("a pass, nothing is free", "pass"),
            ("a pass, nothing is new", "pass again"),
            ("rbp queue", "shown"),
            ("start one job", "start"),
            ("drain all", "drain"),
        ):
            once = part in ("submit", "start", "drain")
            yield from _measured(
                "queue",
                quantity,
                size,
                [*PART, part, str(waiting[0].path.parent)],
                here,
                1 if once else rounds,
                once=once,
            )
        shutil.rmtree(here)


def events(sizes: Sequence[int], folder: Path, rounds: int) -> Iterator[Point]:
    """Monitor against the events of a run."""
    for size in sizes:
        (run,) = make_runs(folder / f"events-{size}", 1)
        write_events(run, size)
        found = [_part(["follow", str(run.path)]) for _ in range(1 if size > 10**6 else rounds)]
        for quantity, unit in (("open", "s"), ("memory", "bytes"), ("one more event", "s"), ("read of it", "bytes")):
            yield Point("events", quantity, unit, size, statistics.median(one[quantity] for one in found))
        seen = _part(["monitor", str(run.path)])
        for quantity in ("open on screen", "one more event on screen"):
            yield Point("events", quantity, "s", size, seen[quantity])
        shutil.rmtree(run.path.parent)


def _part(words: Sequence[str]) -> dict[str, float]:
    """What a part of growth_parts.py says of itself."""
    done = subprocess.run([*PART, *words], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _measured(
    axis: str, quantity: str, size: int, words: Sequence[str], grows: Path, rounds: int, *, once: bool = False
) -> Iterator[Point]:
    """Seconds of a command, by the clock or as a part says, and its operations below the folder that `grows`.

    A command that can be done `once` only is counted and not timed, for counting makes it slower.
    """
    took = 0.0 if once else statistics.median(_seconds(words) for _ in range(rounds))
    seconds, counts = _operations(words, grows)
    if not (once and counts):
        yield Point(axis, quantity, "s", size, took or seconds)
    yield from (Point(axis, quantity, unit, size, count) for unit, count in counts.items())


def _seconds(words: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    took = time.perf_counter() - began
    return float(json.loads(done.stdout)["seconds"]) if growth_parts.__file__ in words else took


def _operations(words: Sequence[str], grows: Path, *, follow: bool = True) -> tuple[float, dict[str, int]]:
    """How long a command takes while its operations below a folder are counted, and how many these are, by kind."""
    if shutil.which("strace") is None:
        return _seconds(words), {}
    with tempfile.NamedTemporaryFile() as log:
        traced = ["strace", *(["-f"] if follow else []), "-y", "-e", "trace=%file,getdents64", "-o", log.name]
        seconds = _seconds([*traced, *words])
        parts = log.read().split(f'"{growth_parts.MARK}"'.encode())
    counted = parts[1] if len(parts) == 3 else b"".join(parts)
    below = re.compile(rf"{re.escape(str(grows.resolve()))}[/>\"]".encode())
    lines = [line for line in counted.splitlines() if below.search(line)]
    return seconds, {"operations": len(lines), "opened": sum(b"openat(" in line for line in lines)}


AXES: dict[str, tuple[Callable[[Sequence[int], Path, int], Iterator[Point]], tuple[int, ...]]] = {
    "timesteps": (timesteps, (1, 2, 4, 8, 16, 32, 64)),
    "depth": (depth, (10, 20, 40, 80)),
    "runs": (runs, (10, 100, 1_000, 5_000, 20_000)),
    "queue": (queue, (10, 100, 1_000, 10_000)),
    "events": (events, (10**3, 10**4, 10**5, 10**6, 10**7)),
}


def exponent(points: Sequence[Point]) -> float | None:
    """The slope of the last decade on log axes; None of fewer than two sizes, or of nothing."""
    last = max(point.size for point in points)
    known = [(math.log(p.size), math.log(p.value)) for p in points if p.size * 10 >= last and p.value > 0]
    if len({x for x, _ in known}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in known], [y for _, y in known]).slope


def lines_of(points: Sequence[Point]) -> dict[tuple[str, str, str], list[Point]]:
    """The points by axis, quantity and unit, each line in order of size."""
    found: dict[tuple[str, str, str], list[Point]] = {}
    for point in sorted(points, key=lambda one: one.size):
        found.setdefault((point.axis, point.quantity, point.unit), []).append(point)
    return dict(sorted(found.items(), key=lambda item: list(AXES).index(item[0][0])))


def text(value: float, unit: str) -> str:
    """A value in words."""
    if unit in ("operations", "opened"):
        return f"{value:.0f}"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB" if value >= 2**20 else f"{value / 2**10:.1f} KiB"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def tell(points: Sequence[Point]) -> None:
    """Print each line: its values and its exponent."""
    for (axis, quantity, unit), line in lines_of(points).items():
        slope = exponent(line)
        values = "  ".join(f"{point.size}: {text(point.value, unit)}" for point in line)
        print(f"{axis:10} {quantity:26} {unit:10} {'' if slope is None else f'{slope:+.2f}':>6}  {values}")


def read(path: Path | None) -> list[Point]:
    if path is None or not path.exists():
        return []
    return [Point(**value) for value in json.loads(path.read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axes", nargs="*", choices=[*AXES, []], help="left out: only what -o has")
    parser.add_argument("--sizes", help="of all these axes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--draw", type=Path, metavar="FILE.svg")
    asked = parser.parse_args()
    points = read(asked.output)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"RBP_RUNS": "runs", "RBP_CONFIG": "own", "XDG_STATE_HOME": "state", "XDG_CACHE_HOME": "cache"}
        os.environ |= {variable: str(folder / inner) for variable, inner in own.items()}
        for axis in asked.axes:
            measure, usual = AXES[axis]
            sizes = [int(size) for size in asked.sizes.split(",")] if asked.sizes else usual
            for point in measure(sizes, folder, asked.rounds):
                print(f"{axis} {point.size}: {point.quantity}, {text(point.value, point.unit)}", flush=True)
                same = (point.axis, point.quantity, point.unit, point.size)
                points = [p for p in points if (p.axis, p.quantity, p.unit, p.size) != same] + [point]
                if asked.output is not None:
                    asked.output.write_text(json.dumps([asdict(one) for one in points], indent=1) + "\n")
    tell(points)
    if asked.draw is not None:
        from growth_figure import draw

        draw(lines_of(points), exponent, asked.draw)


if __name__ == "__main__":
    main()
