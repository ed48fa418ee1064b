"""How long a start takes: `rbp --help` over a minimal Typer application, and a first step of `digits` over torch alone.

Fresh processes, interleaved, medians. The phases of a start are those of the run's own files: `run.json` and its
attempt have the times at which it was made and its worker launched, `summary.json` says what the worker is doing,
events have their times.
Then, without noise: the modules that each process imports.

    python benchmarks/start_time.py [--rounds 9]

Budgets: help 0.1 s over Typer's, the first step 1.2 s over `import torch`.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TYPER = "import typer\napp = typer.Typer()\n@app.command()\ndef hello(name: str = ''): pass\napp(['--help'])"
HELP = "import sys; from rbp_tui.cli import main; sys.argv[1:] = ['--help']; main()"
PLAIN = {"typer": ["-c", TYPER], "rbp --help": ["-c", HELP], "import torch": ["-c", "import torch"]}
TRAIN = ["-m", "rbp_tui", "train", "digits", "train.log_every=1", "guard.max_steps=1"]
STOPPED = 4
# From Enter to the first step, in order; each lasts until the next begins.
PHASES = ("command", "launch", "interpreter", "loading torch", "loading data", "building the network", "first step")


def seconds_of(words: list[str]) -> float:
    """How long a process takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def read(path: Path) -> dict[str, object]:
    """A JSON file that may not be there yet."""
    try:
        found: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def start_run(runs: Path, number: int) -> dict[str, float]:
    """Train one step, and look at the run's files meanwhile; when each phase began, and the first step ended."""
    folder = runs / f"r{number}"
    words = [sys.executable, *TRAIN, "--runs-dir", str(runs), "--id", folder.name]
    began = {"command": time.time()}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        phase = str(read(folder / "summary.json").get("phase") or "")
        if phase in PHASES:
            began.setdefault(phase, time.time())
        time.sleep(0.002)
    assert process.returncode == STOPPED, process.returncode
    about = read(folder / "run.json")
    attempt = read(folder / "attempts/1.json")
    began |= {"launch": float(about["created"]), "interpreter": float(attempt["t"])}  # type: ignore[arg-type]
    for line in (folder / "events/rank0.jsonl").read_text().splitlines():
        event = json.loads(line)
        name = {"run_start": "first step", "metrics": "end"}.get(event["kind"])
        if name is not None:
            began[name] = event["t"]
    return began


def modules(words: list[str]) -> dict[str, int]:
    """How many modules are imported, by process: the command, and the worker if it has one."""
    imported = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    ).stderr
    said = {"command": imported}
    if "--runs-dir" in words:
        runs = Path(words[words.index("--runs-dir") + 1])
        log = max(runs.glob("*/ranks/0/stderr.log"), key=lambda path: path.stat().st_mtime)
        said["worker"] = log.read_text()
    return {process: text.count("import time:") - 1 for process, text in said.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in (*PLAIN, "to the first step", *PHASES)}
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for number in range(rounds + 1):
            plain = {name: seconds_of(words) for name, words in PLAIN.items()}
            began = start_run(runs, number)
            if number == 0:  # it writes bytecode and reads files for the first time
                continue
            for name, taken in plain.items():
                times[name].append(taken)
            times["to the first step"].append(began["end"] - began["command"])
            marks = [*((phase, began[phase]) for phase in PHASES if phase in began), ("", began["end"])]
            for (phase, start), (_, end) in itertools.pairwise(marks):
                times[phase].append(end - start)
        medians = {name: statistics.median(values) for name, values in times.items() if values}
        for name, median in medians.items():
            print(f"{'  ' if name in PHASES else ''}{name:22} {median:.3f} s")
        print(f"help over Typer's                  {medians['rbp --help'] - medians['typer']:.3f} s")
        over = [one - torch for one, torch in zip(times["to the first step"], times["import torch"], strict=True)]
        print(f"first step over torch              {statistics.median(over):.3f} s")
        named = {**PLAIN, "rbp train": [*TRAIN, "--runs-dir", folder]}
        print(f"{'':32} modules")
        for name, words in named.items():
            for process, number in modules(words).items():
                print(f"{name:18} {process:12} {number:8}")


if __name__ == "__main__":
    main()
