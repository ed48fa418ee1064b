"""What rbp does on this machine's GPU, on one page: `make gpu`.

Training steps against SpikingJelly and an ANN, memory against T, the input pipeline, and the tests that need a GPU
(tests/gpu). The most valuable comes first. The page, `gpu-report.md` in the working directory, is written after each
part, and everything ends within ten minutes; a part that fails leaves its reason, and the others go on. Without a GPU
the page lists what was skipped. `--device cpu` tries all parts on a CPU, with a small network.

The exit code is 1 if a test fails or a measurement cannot be made, else 0, also without a GPU.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from gpu_measurements import LATE, MEASURED, Part, Report, first_line, run

from rbp_engine.train.device import DeviceError, choose_device, describe_device

ROOT = Path(__file__).parents[1]
LIMIT_S = 600.0
OUTCOMES = ("passed", "failed", "skipped")
TESTS = "Tests"
TITLES = {"cuda": "rbp on this machine's card", "cpu": "The page of `make gpu`, tried on a CPU with small networks"}
# The tests are cut off after this; before them comes what has figures of the card.
TESTS_S, BEFORE_TESTS = 180.0, 4


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
    # Where time was too short for all of them, those that ran count.
    return Part(TESTS, lines, sound=bool(entries) and not failed and (complete or ended.startswith(LATE)))


def parts(wanted: str, device: torch.device | None, why_not: str) -> Iterator[Part]:
    """All parts of the page, each as soon as it is done."""
    yield machine(device, why_not)
    if device is None:
        yield tests(wanted, TESTS_S)
        skipped = [f"- {title}" for _, title, _ in MEASURED]
        yield Part("Measurements", [f"Skipped: {why_not}.", "", *skipped])
        return
    report = Report(wanted, device, time.monotonic() + LIMIT_S)
    for measure, title, patience_s in MEASURED[:BEFORE_TESTS]:
        yield report.part(measure, title, patience_s)
    yield tests(wanted, min(TESTS_S, report.left()))
    for measure, title, patience_s in MEASURED[BEFORE_TESTS:]:
        yield report.part(measure, title, patience_s)


def write(path: Path, title: str, done: Sequence[Part]) -> None:
    """Write the page so far."""
    sections = [f"## {part.title}\n\n" + "\n".join(part.lines).rstrip() + "\n" for part in done]
    path.write_text(f"# {title}\n\n" + "\n".join(sections), encoding="utf-8")


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
        write(settings.output, TITLES[settings.device], done)
        say(f"{part.title}: {'done' if part.sound else 'FAILED'}, written to {settings.output}")
    return 0 if all(part.sound for part in done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
