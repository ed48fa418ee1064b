"""docs/results.md with its pictures, made from the runs in docs/results/runs: `make results`.

    python docs/results.py           write the page and the pictures
    python docs/results.py keep DIR  first copy what they need of the completed runs of their sweeps in DIR

What is kept of a run: its preset and summary, when and with which versions it was made, and of its events the
evaluations, the probed gradients, and of each epoch the mean of its metrics and the last firing rates. No host, path or
command line is.
"""

import json
import statistics
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine.preset.experiment import LOSS_SCALE
from rbp_engine.report import names
from rbp_engine.report.cells import Cell, make_cells
from rbp_engine.report.collect import collect, means_nothing
from rbp_engine.report.conditions import PACKAGES
from rbp_engine.report.figure import draw
from rbp_engine.report.tables import columns
from rbp_engine.run.files.attempts import read_attempts
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import load_run_json
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.store.store import run_directories

PAGE = Path(__file__).with_name("results.md")
FOLDER = Path(__file__).with_name("results")
KEPT = FOLDER / "runs"
SEEDS = 3  # a cell of fewer is not on the page
SWEEPS = (
    "fashion-mnist",
    "cifar10-convnet",
    "cifar10-resnet18-narrow",
    "mnist5k",
    "digits",
    "moving-digits",
    "sequential-digits",
    "nmnist",
)
CURVES = (("curves", "Accuracy and training loss by epoch"),)
#: The figures of a sweep, where they are not its curves alone.
FIGURES_OF = {
    "cifar10-resnet18-narrow": (
        *CURVES,
        ("gradients", "Gradients against BPTT's, and the errors of rate coding, by epoch and by layer"),
        ("firing-rates", "Firing rates by layer and timestep"),
    )
}
#: What sizes the steps: above the table where all rows agree, else in its settings.
STEPS = ("optim.name", "optim.lr", "train.epochs", "data.batch_size", LOSS_SCALE)
EVENTS = ("run_start", "validation", "gradient_fidelity", "run_end")
OF_RUN_JSON = (
    "format", "id", "preset", "label", "experiment", "method", "timesteps", "seed", "epochs", "name", "tags", "created",
    "settings", "sweep", "python",
)  # fmt: skip


def keep(runs: Path) -> None:
    """Copy what is needed of the completed runs of the sweeps in `runs`, and what is kept already stays."""
    presets = {f"results-{name}" for name in SWEEPS}
    for run in run_directories(runs):
        if load_run_json(run).preset in presets and load_summary(run).status == "completed":
            keep_run(run)


def keep_run(run: RunDirectory) -> None:
    """Write the part of a run that may be published."""
    kept = RunDirectory(KEPT / run.id)
    kept.events().parent.mkdir(parents=True, exist_ok=True)
    kept.preset_toml.write_bytes(run.preset_toml.read_bytes())
    made = json.loads(run.run_json.read_text())
    known = {name: made[name] for name in OF_RUN_JSON if name in made}
    known["packages"] = {name: made["packages"][name] for name in PACKAGES if name in made["packages"]}
    known["git"] = {"commit": made["git"]["commit"]} if made.get("git") else None
    write_json(kept.run_json, known)
    write_json(kept.summary_json, json.loads(run.summary_json.read_text()) | {"host": ""})
    kept.attempts.mkdir(exist_ok=True)
    for attempt in read_attempts(run):
        ended = None if attempt.ended is None else asdict(attempt.ended)
        write_json(kept.attempt(attempt.attempt), {"attempt": attempt.attempt, "ended": ended})
    lines = [json.loads(line) for line in run.events().read_text().splitlines()]
    kept.events().write_text("".join(f"{json.dumps(line)}\n" for line in reduced(lines)))


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def reduced(lines: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """The events that are kept, in their order: those of an epoch before its evaluation."""
    metrics: list[dict[str, Any]] = []
    rates: dict[str, Any] | None = None
    for line in lines:
        if line["kind"] == "metrics":
            metrics.append(line)
        elif line["kind"] == "firing_rates":
            rates = line
        elif line["kind"] in EVENTS:
            if line["kind"] == "validation" and metrics:
                yield mean_metrics(metrics)
                yield from [rates] if rates else []
                metrics, rates = [], None
            yield line | {"host": "", "logs": None, "memory": None} if line["kind"] == "run_start" else line


def mean_metrics(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of an epoch as one event: means, and medians of what takes time, where one slow step weighs much."""
    found = dict(lines[-1])
    for name, mean in (("loss", statistics.fmean), ("top1", statistics.fmean), ("step_ms", statistics.median)):
        found[name] = mean([line[name] for line in lines])
    return found


def cells_of(sweep: str) -> list[Cell]:
    """The table's cells of a sweep, from the runs that are kept."""
    runs = [run for run in run_directories(KEPT) if load_run_json(run).preset == sweep]
    entries, excluded = collect(runs)
    if excluded:
        raise SystemExit("\n".join(f"{run.id}: {run.reason}" for run in excluded))
    return [cell for cell in make_cells(entries) if len(cell.runs) >= SEEDS]


def page(pictures: Path = FOLDER) -> str:
    """The page: its introduction as it is, then a section for each sweep. The pictures are drawn into a folder."""
    introduction, _, _ = PAGE.read_text().partition("## ")
    return "\n".join([f"{introduction.rstrip()}\n", *(section(name, pictures) for name in SWEEPS)])


def section(name: str, pictures: Path) -> str:
    """The part of the page that tells of a sweep."""
    sweep = f"results-{name}"
    preset = tomllib.loads((FOLDER / f"{sweep}.toml").read_text())
    title = preset["title"].removeprefix("For docs/results.md: ")
    parts = [f"## {title[0].upper()}{title[1:]}", preset["description"].strip()]
    parts.append(f"    rbp sweep docs/results/{sweep}.toml")
    cells = cells_of(sweep)
    if not cells:
        return "\n\n".join([*parts, "Not trained yet.", ""])
    parts.append(f"All rows: `{' '.join(common(cells))}`.")
    # The data set and the network are the heading's, the notes the introduction's; costs are those of docs/bench.md.
    shown = [column for column in columns(cells, costs=False) if column.head not in ("data set", "network", "best %")]
    parts.append(
        table([[column.head for column in shown], *([column.word(cell) for column in shown] for cell in cells)])
    )
    entries = [entry for cell in cells for entry in cell.runs]
    for kind, text in FIGURES_OF.get(name, CURVES):
        draw(kind, entries, pictures / f"{name}-{kind}.svg")
        parts.append(f"![{text}](results/{name}-{kind}.svg)")
    parts.append(inside(cells))
    return "\n\n".join([*parts, ""])


def common(cells: Sequence[Cell]) -> list[str]:
    """The settings of `STEPS` that are the same in all rows whose method has them, as words of a command."""
    values = {
        key: {cell.first.settings[key] for cell in cells if not means_nothing(key, cell.first.settings)}
        for key in STEPS
    }
    return [f"{key}={names.value_text(*found)}" for key, found in values.items() if len(found) == 1]


def called(cell: Cell) -> str:
    """The method of a cell, and what else sets it apart."""
    return ", ".join(cell.words("method", "label"))


def inside(cells: Sequence[Cell]) -> str:
    """A table of what the probes saw: where a method's gradient points, and how much the neurons fire."""
    rows = [["method", "T", "images", "cosine, last", "lowest", "firing rate of each layer", "silent"]]
    for cell in cells:
        probed = [events_of(entry.run, "gradient_fidelity") for entry in cell.runs]
        last = [events_of(entry.run, "firing_rates")[-1:] for entry in cell.runs]
        if not all(last):
            continue
        layers = zip(*([statistics.fmean(steps) for steps in events[0]["rates"]] for events in last), strict=True)
        rows.append(
            [
                called(cell),
                str(cell.first.timesteps),
                *(["–"] * 3 if cell.first.method == "bptt" or not all(probed) else cosines(probed)),
                ", ".join(f"{statistics.fmean(seeds):.3f}" for seeds in layers),
                f"{100 * statistics.fmean(statistics.fmean(events[0]['silent']) for events in last):.1f} %",
            ]
        )
    return table(rows)


def cosines(probed: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """How far a method's gradient points where BPTT's does, on how many of the same images; events by seed."""
    images = {event["samples"] for events in probed for event in events}
    last = [events[-1]["cosine"] for events in probed]
    lowest = [min(event["cosine"] for event in events) for events in probed]
    return [", ".join(map(str, sorted(images))), *(f"{statistics.fmean(values):.3f}" for values in (last, lowest))]


def events_of(run: RunDirectory, kind: str) -> list[dict[str, Any]]:
    """The kept events of a kind."""
    lines = map(json.loads, run.events().read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; without rows, nothing."""
    if len(rows) == 1:
        return ""
    rule = [":--", *["--:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def main(words: Sequence[str]) -> None:
    if words:
        (keep_word, runs) = words
        assert keep_word == "keep", __doc__
        keep(Path(runs))
    PAGE.write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
