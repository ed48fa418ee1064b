"""A finished run as files, and the ways to damage them."""

import json
import os
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.preset import load_preset
from rbp_engine.printable import one_line
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.evaluation_json import (
    ByClass,
    ClassCounts,
    Confusion,
    Disturbed,
    EvaluatedWeights,
    Evaluation,
    Mistake,
    Robustness,
    save_evaluation,
)
from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    FiringRates,
    Metrics,
    Probe,
    RunEnd,
    RunStart,
    System,
    Validation,
)
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.writer import EventWriter
from tests.run_files import write_attempt

NUMBERS = (-1, 0, 2, 2**31, 2**63, -(2**63), 10**400, 1e308, -1e308, float("nan"), float("inf"))
OTHERS = ("7", "", None, True, [], {}, [[1]], [None], {"a": [{}]}, ["x"] * 3, "../../../etc", "\x1b[2J[/]")


def write_run(runs: Path, name: str, *, ended: bool) -> RunDirectory:
    """A finished run of two processes on this host; if `ended`, it recorded its own end."""
    run = launch.create(load_preset("digits"), runs, run_id=name, asked=Asked(resources=Resources(processes=2)))
    for rank in (0, 1):
        events = EventWriter(run.events(rank), 1, rank)
        logs = f"ranks/{name}_x/attempt_0/{rank}"
        (run.path / logs).mkdir(parents=True)
        (run.path / logs / "stdout.log").write_text("started\n")
        (run.path / logs / "stderr.log").write_text("a warning\n")
        (run.path / logs / "error.json").write_text(json.dumps({"message": {"message": "ValueError: x"}}))
        events.write(
            RunStart(device="cpu", steps_per_epoch=2, epochs=4, epoch=0, world_size=2, logs=logs, neuron_layers=["a"]),
            0,
        )
        for step in range(1, 9):
            events.write(Metrics(step // 2, 0.5, 0.9, 0.1, 100.0, 10.0, 1.0), step)
            events.write(FiringRates([[0.1, 0.2]], [0.5], [0.0]), step)
            events.write(System(rss=2**30, step_ms=10.0, data_ms=1.0), step)
            events.write(Validation(step // 2, 0.3, 0.9, 1.0, 360, top1_by_step=[0.8, 0.9]), step)
        events.write(Probe("rates", {"layer": [0.1, 0.2]}), 8)
        events.write(CheckpointSaved("step-00000008", 1000, 5.0), 8)
        if ended and rank == 0:
            events.write(ErrorRaised("x", "Traceback …"), 8)
            events.write(RunEnd("completed", last={"top1": 0.9}, best={"top1": 0.9}), 8)
        events.close()
    report = "  time : 2026-11-24_22:31:00\n  host : x\n  rank : 1 (local_rank: 1)\n  exitcode : -9 (pid: 7)\n"
    (run.ranks / "launcher-1-node0.log").write_text(report)
    write_json(run.annotations_json, {"added": ["a"], "removed": [], "note": "x"})
    save_evaluation(run, evaluation())
    here = {"process": asdict(os_process.of(2**22 - 5)), "t": 1.7e9}
    ended = {"status": "lost", "cause": "", "reason": "r", "t": 1.7e9}
    write_attempt(run, resources={"processes": 2}, command=["python"], **here, **({"ended": ended} if ended else {}))
    described: dict[str, Any] = {"dispatch": {"gpus": "auto", "retries": 1}}
    # A fixed state instead of that of this checkout, whose uncommitted changes may contain text that the test forbids.
    described["git"] = {"commit": "0" * 40, "branch": "main", "changed": True}
    run.uncommitted_diff.write_text("+ x")
    write_json(run.run_json, read_json(run.run_json) | described)
    summary = read_summary(run)
    assert summary is not None
    reached = {"status": "completed" if ended else "running", "epoch": 4, "epochs": 4, "step": 8, "steps": 8}
    scores = {"last": {"top1": 0.9, "loss": 0.3}, "best": {"top1": 0.9, "epoch": 2}, "train": {"loss": 0.1}}
    write_json(run.summary_json, read_json(run.summary_json) | reached | scores)
    return run


def evaluation(of: EvaluatedWeights | None = None) -> Evaluation:
    """What `rbp eval --full` might have found."""
    words = map(one_line, ("last", "step-00000008", "test"))
    of = of or EvaluatedWeights(*words, samples=20, timesteps=2, top1=0.9, t=1.7e9)
    rows = (Disturbed(one_line("shuffled"), 2, 0.0, 0.85), Disturbed(one_line("noise"), 2, 0.5, 0.7))
    classes = (ClassCounts(one_line("cat"), 10, 9, 10), ClassCounts(one_line("dog"), 10, 9, 10))
    confusions, worst = (Confusion(0, 1, 1), Confusion(1, 0, 1)), (Mistake(3, 0, 1, 0.9), Mistake(12, 1, 0, 0.6))
    return Evaluation(Robustness(of, 0, 1.0, rows), ByClass(of, classes, confusions, worst))


def files(run: RunDirectory) -> list[Path]:
    """Every file of a run."""
    return sorted(path for path in run.path.rglob("*") if path.is_file())


def change_a_value(path: Path, draw: random.Random) -> None:
    """Put an absurd value somewhere into the JSON of a file, or of one of its lines."""
    text = path.read_text(errors="replace")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    number = draw.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except (ValueError, RecursionError):
        return garbage(path, draw)
    holder: Any = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = draw.choice(keys)
        if not isinstance(holder[key], (dict, list)) or not holder[key] or draw.random() < 0.3:
            break
        holder = holder[key]
    if isinstance(holder, dict) and draw.random() < 0.15:
        del holder[key]
    else:
        holder[key] = draw.choice(NUMBERS + OTHERS)
    lines[number] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n")
    return None


def truncate(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size or 1))


def flip_bits(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"x")
    for _ in range(draw.choice([1, 30])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def zero_a_block(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content) or 1)
    content[start : start + 100] = bytes(len(content[start : start + 100]))
    path.write_bytes(content)


def garbage(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(draw.choice([0, 1, 100, 10_000])))


def nest(path: Path, draw: random.Random) -> None:
    path.write_text(draw.choice(["[", '{"a":']) * draw.choice([500, 100_000]) + "\n")


def swap(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.choice([other for other in path.parents[0].rglob("*") if other.is_file()]).read_bytes())


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()
    if draw.random() < 0.5:
        path.mkdir()


DAMAGES = (
    change_a_value,
    change_a_value,
    change_a_value,
    truncate,
    flip_bits,
    zero_a_block,
    garbage,
    nest,
    swap,
    remove,
)
