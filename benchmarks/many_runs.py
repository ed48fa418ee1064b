"""Many runs that have ended, as `rbp train` and its worker leave them, made in seconds."""

import json
import tempfile
from pathlib import Path
from typing import Any

from rbp_engine.preset import load_preset
from rbp_engine.preset.resolved import as_toml
from rbp_engine.run.files.annotations import change_tags, set_note
from rbp_engine.run.files.events import Body, Event, Metrics, RunStart, Scores, System, Validation, to_json
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.files.summary import SummaryJson, write_summary
from rbp_engine.run.launch import launch

# Of a run with many events.
PER_EPOCH = 500


def make_runs(runs: Path, count: int, first: int = 0) -> list[RunDirectory]:
    """Runs of three seeds of each of ten learning rates and many slopes; every fifth has a tag and a note.

    `first` is the number of the first, for a folder that has as many already.
    """
    loaded = load_preset("digits")
    with tempfile.TemporaryDirectory() as folder:
        described = read_json(launch.create(loaded, Path(folder)).run_json)  # with its packages and commit
    return [_make_run(runs, number, described) for number in range(first, first + count)]


def event(seq: int, t: float, step: int, body: Body) -> str:
    """A line of an event log."""
    return to_json(Event(seq, t, 1, 0, step, body)) + "\n"


def write_events(run: RunDirectory, count: int) -> None:
    """Events as training writes them: mostly metrics, with memory events in between."""
    with run.events().open("w") as file:
        file.write(event(0, 1.7e9, 0, RunStart(steps_per_epoch=PER_EPOCH, epochs=1 + count // PER_EPOCH)))
        for step in range(1, count):
            body: Body = Metrics(step // PER_EPOCH, 1 / step, 1 - 1 / step, 0.1, 4812.1, 26.61, 0.81)
            if step % PER_EPOCH == 0:
                body = Validation(step // PER_EPOCH, 1 / step, 1 - 1 / step, None, 10_000)
            elif step % 4 == 0:
                body = System(2**30, 2**31, 2**31, 2**30, gpu_util=0.97, power=250.0)
            file.write(event(step, 1.7e9 + step, step, body))


def _make_run(runs: Path, number: int, described: dict[str, Any]) -> RunDirectory:
    run = RunDirectory(runs / f"20260101-{number:06}-digits-rate_m-{number:04x}")
    run.events().parent.mkdir(parents=True)
    epochs, created = 20, 1.7e9 + number
    lines = [event(k, created + k, k, Validation(k, 0.5, k / 25, None, 360)) for k in range(1, epochs + 1)]
    run.events().write_text("".join(lines))
    top1 = number % 101 / 101
    lr, alpha = (1 + number // 3 % 10) / 100, 1 + number // 30
    values = json.loads(json.dumps(described["settings"]))
    values["optim"]["lr"], values["run"]["seed"] = lr, number % 3 + 1
    values["neuron"]["surrogate_args"] = {"alpha": alpha}
    identity = {
        "id": run.id,
        "experiment": f"{number // 3}",
        "seed": number % 3 + 1,
        "created": created,
        "host": "here",
    }
    write_json(run.run_json, described | identity | {"epochs": epochs, "settings": values})
    run.preset_toml.write_text(as_toml(values))
    write_summary(
        run,
        SummaryJson(status="completed", epoch=epochs, last=Scores(top1=top1, loss=0.5),
                 best=Scores(top1=top1, epoch=epochs), train=Scores(loss=0.4), samples_per_s=4812.0,
                 mem_peak=2**30, trained_s=60.0, host="here"),
    )  # fmt: skip
    if number % 5 == 0:
        change_tags(run, [f"group{number % 7}"])
        set_note(run, f"tried with slope {number // 30}, compare with the one before")
    return run
