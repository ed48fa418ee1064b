"""Damaged files of runs, and everything that reads them."""

import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    EventWriter,
    Metrics,
    Probe,
    RunEnd,
    RunStart,
    System,
    Validation,
    read_events,
    read_last_events,
)
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.log_files import log_files, named_folders
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.history_reader import HistoryReader
from rbp_engine.run.status.retryable import has_failed, is_infrastructure_fault
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs

NUMBERS = (-1, 0, 2, 2**31, 2**63, -(2**63), 10**400, 1e308, -1e308, float("nan"), float("inf"))
OTHERS = ("7", "", None, True, [], {}, [[1]], [None], {"a": [{}]}, ["x"] * 3, "../../../etc", "\x1b[2J[/]")


def commands(name: str) -> list[tuple[str, ...]]:
    """The commands that read runs."""
    return [    ("ls",), ("ls", "--json"), ("ls", "acc>0.5 age<1d host:x", "--sort", "best"), ("runs", "show", name),
    ("runs", "show", name, "--json"), ("runs", "compare", name, "two"), ("runs", "compare", name, "two", "--json"),
    ("runs", "csv", name), ("logs", name), ("logs", name, "--rank", "1"), ("report", "--include-unfinished"),
    ("report", "--json"), ("watch", name), ("watch", name, "--json"), ("runs", "tag", name), ("queue",),
    ]  # fmt: skip


def write_run(runs: Path, name: str, *, ended: bool) -> RunDirectory:
    """A finished run of two processes on this host; if `ended`, it recorded its own end."""
    run = launch.create(load_preset("digits"), runs, run_id=name, resources=Resources(processes=2))
    for rank in (0, 1):
        events = EventWriter(run.events(rank), 1, rank)
        logs = f"ranks/{name}_x/attempt_0/{rank}"
        (run.path / logs).mkdir(parents=True)
        (run.path / logs / "stdout.log").write_text("started\n")
        (run.path / logs / "stderr.log").write_text("a warning\n")
        (run.path / logs / "error.json").write_text(json.dumps({"message": {"message": "ValueError: x"}}))
        events.write(RunStart(device="cpu", steps_per_epoch=2, epochs=4, epoch=0, world_size=2, logs=logs), 0)
        for step in range(1, 9):
            events.write(Metrics(step // 2, 0.5, 0.9, 0.1, 100.0, 10.0, 1.0), step)
            events.write(System(rss=2**30, step_ms=10.0, data_ms=1.0), step)
            events.write(Validation(step // 2, 0.3, 0.9, 1.0, 360), step)
        events.write(Probe("rates", {"layer": [0.1, 0.2]}), 8)
        events.write(CheckpointSaved("step-00000008", 1000, 5.0), 8)
        if ended and rank == 0:
            events.write(ErrorRaised("x", "Traceback …"), 8)
            events.write(RunEnd("completed", last={"top1": 0.9}, best={"top1": 0.9}), 8)
        events.close()
    report = "  time : 2026-11-24_22:31:00\n  host : x\n  rank : 1 (local_rank: 1)\n  exitcode : -9 (pid: 7)\n"
    (run.ranks / "launcher-1-node0.log").write_text(report)
    write_json(run.annotations_json, {"added": ["a"], "removed": [], "note": "x"})
    here = {"pid": 2**22 + 5, "pid_started": 1.7e9, "host": socket.gethostname(), "t": 1.7e9}
    attempt = {"attempt": 1, "world_size": 2, "nodes": 1, "stderr_from": 0, "command": ["python"]} | here
    fault = {"attempt": 1, "status": "lost", "reason": "r", "t": 1.7e9}
    described = {"attempts": [attempt], "faults": [fault], "dispatch": {"gpus": "auto", "retries": 1}}
    # A fixed state instead of that of this checkout, whose uncommitted changes may contain text that the test forbids.
    described["git"] = {"commit": "0" * 40, "branch": "main", "diff": "+ x"}
    write_json(run.run_json, read_json(run.run_json) | described)
    summary = read_summary(run)
    assert summary is not None
    reached = {"status": "completed" if ended else "running", "epoch": 4, "epochs": 4, "step": 8, "steps": 8}
    scores = {"last": {"top1": 0.9, "loss": 0.3}, "best": {"top1": 0.9, "epoch": 2}, "train": {"loss": 0.1}}
    write_json(run.summary_json, asdict(summary) | reached | scores)
    return run


def files(run: RunDirectory) -> list[Path]:
    """Every file of a run."""
    return sorted(path for path in run.path.rglob("*") if path.is_file())


def change_a_value(path: Path, draw: random.Random) -> None:
    """Put an absurd value somewhere into the JSON of a file, or of one of its lines."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    number = draw.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except ValueError:
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


def read_everything(run: RunDirectory) -> None:
    """Read what the dashboard and the dispatcher read, without their screens and processes."""
    verdict = judge(run)
    assert verdict.status and (verdict.reason or verdict.status == "completed" or verdict.live)
    list_runs(run.path.parent)
    is_infrastructure_fault(run, verdict)
    has_failed(run, verdict)
    read_run_json(run)
    log_files(run, named_folders(run))
    for rank in run.ranks_with_events():
        read_last_events(run.events(rank))
        read_events(run.events(rank))
    reader = HistoryReader(run)
    reader.poll()
    reader.history()


def end_it(run: RunDirectory) -> None:
    """Kill it, stop it or start it again: each works, or is refused with a message."""
    for act in (lambda: control.kill(run), lambda: control.stop(run, 0.0), lambda: launch._claim_attempt(run)):
        try:
            act()
        except RunError as error:
            assert str(error)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that recorded their end, and one that did not."""
    runs = tmp_path_factory.mktemp("pristine")
    for name in ("one", "two", "lost"):
        write_run(runs, name, ended=name != "lost")
    return runs


def test_of_a_damaged_run_comes_what_is_left_or_a_message(
    pristine: Path, tmp_path: Path, draw: random.Random, trials: int, rbp: Callable[..., Any]
) -> None:
    """Draws which commands to try, because all of them together take a second."""
    for trial in range(4 * trials):
        runs = tmp_path / str(trial)
        shutil.copytree(pristine, runs)
        run = RunDirectory(runs / draw.choice(["one", "lost"]))
        path = draw.choice(draw.choice([files(run), [run.run_json, run.summary_json, run.events(), run.events(1)]]))
        damage = DAMAGES[trial % len(DAMAGES)]
        damage(path, draw)
        case = f"trial {trial}: {damage.__name__} {path.relative_to(runs)}"
        acts: list[Callable[[], Any]] = [partial(read_everything, run), partial(end_it, run)]
        acts[1:1] = [partial(rbp, runs, *words) for words in draw.sample(commands(run.id), 3)]
        for act in acts:
            try:
                act()
            except Exception as error:
                raise AssertionError(f"{case}: {error!r}") from error
    print(f"{4 * trials} damaged files of runs: each read, or refused in words")
