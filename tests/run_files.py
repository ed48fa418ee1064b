"""The files of a run of which a test needs no more than what it names."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine import os_process
from rbp_engine.preset import load_preset
from rbp_engine.run.files.attempts import AttemptRecord
from rbp_engine.run.files.event_reader import read_events
from rbp_engine.run.files.events import Body, Event, FiringRates, Metrics, RunStart, Validation
from rbp_engine.run.files.layout import CHECKPOINT, RunDirectory, read_json, write_json
from rbp_engine.run.files.run_json import FORMAT
from rbp_engine.run.files.summary import IDENTITY, Summary, load_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.writer import EventWriter

STEPS_PER_EPOCH = 10


def write_identity(run: RunDirectory, summary: Summary, **fields: Any) -> None:
    """Write a run.json that says of the run what its summary does, with other `fields`."""
    run.path.mkdir(parents=True, exist_ok=True)
    known = {name: getattr(summary, name) for name in IDENTITY}
    write_json(run.run_json, {"format": FORMAT, "settings": {}} | known | {"id": run.id} | fields)


def recorded(folder: Path) -> dict[str, Any]:
    """What the run in a folder is, and what it has reached."""
    return load_summary(RunDirectory(folder)).as_json()


def change_identity(run: RunDirectory, **fields: Any) -> None:
    """Change fields of run.json, as nothing else does."""
    write_json(run.run_json, read_json(run.run_json) | fields)


def change_summary(run: RunDirectory, **fields: Any) -> None:
    """Change fields of summary.json, also those that a writer sets to now."""
    write_json(run.summary_json, read_json(run.summary_json) | fields)


def change_fields(run: RunDirectory, **fields: Any) -> None:
    """Change fields of what lists show, each in the file that it is read from."""
    change_identity(run, **{name: value for name, value in fields.items() if name in IDENTITY})
    change_summary(run, **{name: value for name, value in fields.items() if name not in IDENTITY})


def write_attempt(run: RunDirectory, number: int = 1, **fields: Any) -> None:
    """Write the record of an attempt, by default of this process and of now."""
    record = asdict(AttemptRecord(number, os_process.here(), os_process.here(), time.time()))
    run.attempts.mkdir(exist_ok=True)
    write_json(run.attempt(number), record | fields)


def tell(
    run: RunDirectory, *bodies: Body, step: int | None = None, attempt: int = 1, rank: int = 0, now: float | None = None
) -> None:
    """Write events as the worker of this rank does, at one step or at one after another from 1."""
    writer = EventWriter(run.events(rank), attempt, rank)
    for number, body in enumerate(bodies, start=1):
        writer.write(body, number if step is None else step, now)
    writer.close()


def end_run(
    runs: Path,
    run_id: str | None,
    *words: str,
    preset: str = "digits",
    curve: Sequence[float] = (0.9,),
    step_s: float = 0.1,
    peak: int = 2**30,
    layers: int = 0,
    device: str = "cpu",
    split: str = "test",
    whole: bool = True,
    **changes: Any,
) -> RunDirectory:
    """A run as `rbp train` and its worker would leave it, with these values of top-1 after each epoch.

    It has no more epochs than `curve`, or if it is not `whole` those of its preset. It has firing rates if it has
    `layers`, at five timesteps: the more the deeper and later, and fewer each epoch.
    """
    loaded = load_preset(preset, words)
    run = launch.create(loaded, runs, run_id=run_id, command=["rbp", "train", preset, *words])
    events = EventWriter(run.events(), attempt=1)
    names = [f"layer{layer // 4 + 1}.{layer // 2 % 2}.neuron{layer % 2 + 1}" for layer in range(layers)]
    start = RunStart(device=device, steps_per_epoch=STEPS_PER_EPOCH, epochs=len(curve), epoch=0, neuron_layers=names)
    events.write(start, 0, 1000.0)
    for epoch, top1 in enumerate(curve):
        step = (epoch + 1) * STEPS_PER_EPOCH
        t = 1000.0 + step * step_s
        events.write(Metrics(epoch, 1.0 - top1, top1, 0.1, 640.0, 1000 * step_s, 1.0), step, t)
        if layers:
            rates = [[(layer + 1 + t) / (layers * (10 + 5 * epoch)) for t in range(5)] for layer in range(layers)]
            shares = [epoch * layer / (len(curve) * layers) for layer in range(layers)]
            events.write(FiringRates(rates, shares, [0.0] * layers), step, t)
        events.write(Validation(epoch + 1, 1.0 - top1, top1, 1.0, 360, split), step, t)
    events.close()
    best = max(curve)
    epochs = len(curve) if whole else loaded.preset.train.epochs
    reached = {"status": "completed", "epoch": len(curve), "epochs": epochs, "step": step, "steps": step}
    scores = {"last": {"top1": curve[-1]}, "best": {"top1": best, "epoch": curve.index(best) + 1}}
    cost = {"trained_s": step * step_s, "mem_peak": peak, "samples_per_s": 640.0, "step_ms": 1000 * step_s}
    change_fields(run, **reached | scores | cost | changes)
    return run


def write_manifest(checkpoint: Path) -> None:
    """Write the manifest of a checkpoint by what else is in its folder, without the rest that a resume reads."""
    files = {path.name: {"size": path.stat().st_size} for path in checkpoint.iterdir()}
    write_json(checkpoint / "manifest.json", {"files": files})


def story(run: RunDirectory) -> list[dict[str, Any]]:
    """What the run has learned, step by step and epoch by epoch, without timings."""
    timing = {"samples_per_s", "step_ms", "data_ms", "trained_s"}
    return [
        {"step": event.step, "kind": event.body.kind}
        | {name: value for name, value in vars(event.body).items() if name not in timing}
        for event in events_of(run, Metrics, Validation)
    ]


def events_of(run: RunDirectory, *kinds: type[Body]) -> list[Event]:
    """The events of rank 0 that are of these kinds."""
    return [event for event in read_events(run.events()) if isinstance(event.body, kinds)]


def bodies_of(run: RunDirectory, *kinds: type[Body]) -> list[Any]:
    return [event.body for event in events_of(run, *kinds)]


def newest_weights(run: RunDirectory) -> dict[str, Any]:
    """The weights of the newest checkpoint, whose file does not stay open."""
    from safetensors.torch import load

    newest = max(path for path in run.checkpoints.iterdir() if CHECKPOINT.fullmatch(path.name))
    return load((newest / "model.safetensors").read_bytes())


def create_own(folder: Path, runs: Path, code: str = "class Net:\n    pass\n", *words: str) -> RunDirectory:
    """A run `own` of digits with a network of its user's, whose preset and code are in a folder."""
    (folder / "nets.py").write_text(code)
    (folder / "own.toml").write_text('extends = "digits"\nmodel.name = "nets.py:Net"\n')
    return launch.create(load_preset(str(folder / "own.toml"), words), runs, run_id="own")


def contents(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: contents of files, targets of links, nothing of other things."""
    found: dict[str, bytes | str] = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root, name) for name in (*folders, *files)):
            plain = path.read_bytes() if path.is_file() else ""
            found[str(path.relative_to(folder))] = str(path.readlink()) if path.is_symlink() else plain
    return found


def end_runs_of_a_cell(folder: Path) -> Path:
    """Three seeds of a cell of the paper, a run with another learning rate, and one of another method and no cell."""
    for seed, last in ((1, 0.95), (2, 0.955), (3, 0.96)):
        end_run(folder, None, f"seed={seed}", preset="cifar10-resnet18", curve=(0.96, last))
    end_run(folder, None, "lr=0.05", preset="cifar10-resnet18", curve=(0.91, 0.9))
    end_run(folder, None, "method=bptt", curve=(0.98, 0.97))
    return folder
