"""What rbp does on this machine's GPU, on one page: `make gpu`.

Runs the tests that need a GPU (tests/gpu), then training steps of ResNet-18 compared with SpikingJelly's BPTT and an
ANN. The page, `gpu-report.md` in the working directory, is written after each part, and everything ends within ten
minutes. Without a GPU the page lists what was skipped. `--device cpu` does what a CPU can do, with a small network.

The exit code is 1 if a test fails or a measurement cannot be made, else 0, also without a GPU.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from rbp_engine.train.device import DeviceError, choose_device, describe_device

ROOT = Path(__file__).parents[1]
LIMIT_S = 600.0
# The tests are cut off after this, to leave time for the measurements.
TESTS_S = 240.0
LEAVE_S = 20.0
LATE = "not done within"
OUTCOMES = ("passed", "failed", "skipped")
RBP = [sys.executable, "-c", "from rbp_tui.cli import main; main()"]


@dataclass(frozen=True)
class Part:
    """A part of the page; `sound` is false if something failed."""

    title: str
    lines: Sequence[str]
    sound: bool = True


def machine(device: torch.device | None, why_not: str) -> Part:
    lines = [
        f"- Date: {time.strftime('%Y-%m-%d %H:%M %Z')}",
        f"- Device: {describe_device(device) if device else f'none ({why_not})'}",
        f"- Driver: {driver()}",
        f"- torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}, cuDNN {cudnn()}",
        f"- Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPU threads",
        f"- Commit {commit()}",
    ]
    return Part("Machine", lines)


def driver() -> str:
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as error:
        return f"none ({error})"


def cudnn() -> str:
    return str(torch.backends.cudnn.version()) if torch.backends.cudnn.is_available() else "none"


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "not known"


def tests(device: str, patience_s: float) -> Part:
    """Run tests/gpu; lists failures with the first line of their reason, and skipped tests by reason."""
    with TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        results.touch()
        command = [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "gpu")]
        ended = run(command, patience_s, RBP_TEST_DEVICE=device, RBP_TEST_RESULTS=str(results))
        entries = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    by_outcome = {outcome: [one for one in entries if one["outcome"] == outcome] for outcome in OUTCOMES}
    lines = [", ".join(f"{len(some)} {outcome}" for outcome, some in by_outcome.items()) + "."]
    complete = bool(entries) and ended in ("", "exit code 1")
    lines += [] if complete else ["", f"These are not all: {ended or 'pytest has ended early'}."]
    failed, skipped = by_outcome["failed"], by_outcome["skipped"]
    lines += ["", "Failed:", ""] if failed else []
    lines += [f"- `{one['name']}`: {first_line(one['told'])}" for one in failed]
    lines += ["", "Skipped:", ""] if skipped else []
    for reason in sorted({one["told"] for one in skipped}):
        names = {one["name"].partition("[")[0] for one in skipped if one["told"] == reason}
        lines += [f"- {reason}:", *(f"  - `{name}`" for name in sorted(names))]
    return Part("Tests", lines, sound=complete and not failed)


def bench(device: str, timesteps: int, patience_s: float) -> Part:
    """Training steps of every method and of the baselines, as `rbp bench` measures them."""
    title = f"Training steps, T = {timesteps}"
    preset, batch = ("cifar10-resnet18", 128) if device != "cpu" else ("digits", 8)
    with TemporaryDirectory() as folder:
        document = Path(folder) / "bench.json"
        words = ["bench", preset, f"run.device={device}", "--batch", str(batch), "--timesteps", str(timesteps)]
        words += ["--methods", "rate_m,rate_s,bptt", "--against", "spikingjelly,ann", "--repeats", "2"]
        ended = run([*RBP, *words, "-o", str(document)], patience_s)
        if not document.exists():
            return Part(title, [f"Not measured: {ended}."], sound=False)
        rows = json.loads(document.read_text())["rows"]
    lines = [
        f"`rbp {' '.join(words)}`",
        "",
        "| | step, ms | images/s | memory, GiB | time / SpikingJelly | memory / SpikingJelly | time / ANN |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["problem"]:
            lines.append(f"| {row['method']} | {row['problem']} | | | | | |")
            continue
        ratios = " | ".join("" if row[key] is None else f"{row[key]:.2f}" for key in ("time", "memory", "floor"))
        memory = "" if row["peak"] is None else f"{row['peak'] / 2**30:.2f}"  # if it was interrupted
        figures = f"{1000 * row['seconds']:.1f} | {row['samples_per_s']:.0f} | {memory}"
        lines.append(f"| {row['method']} | {figures} | {ratios} |")
    return Part(title, lines, sound=not any(row["problem"] for row in rows))


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


def parts(wanted: str, device: torch.device | None, why_not: str) -> Iterator[Part]:
    """All parts of the page, each as soon as it is done."""
    begun = time.monotonic()

    def left() -> float:
        return LIMIT_S - (time.monotonic() - begun)

    yield machine(device, why_not)
    yield tests(wanted, TESTS_S)
    if device is None:
        yield Part("Training steps", [f"Skipped: {why_not}."])
        return
    yield bench(wanted, 4, left() / 2 - LEAVE_S)
    yield bench(wanted, 8, left() - LEAVE_S)


def write(path: Path, done: Sequence[Part]) -> None:
    """Write the page so far."""
    sections = [f"## {part.title}\n\n" + "\n".join(part.lines) + "\n" for part in done]
    path.write_text("# rbp on this machine's card\n\n" + "\n".join(sections), encoding="utf-8")


def main(words: Sequence[str], say: Callable[[str], object] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-report.md"))
    settings = parser.parse_args(words)
    device, why_not = None, ""
    try:
        device = choose_device(settings.device)
    except DeviceError as error:
        why_not = str(error)
    done: list[Part] = []
    for part in parts(settings.device, device, why_not):
        done.append(part)
        write(settings.output, done)
        say(f"{part.title}: {'done' if part.sound else 'FAILED'}, written to {settings.output}")
    return 0 if all(part.sound for part in done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
