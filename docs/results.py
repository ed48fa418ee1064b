"""docs/results.md with its pictures, made from what docs/results keeps: `make results`.

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
from rbp_engine.report.figure import FigureView, draw, write
from rbp_engine.report.panels import Panel, lines_of
from rbp_engine.report.spread import spread
from rbp_engine.report.tables import columns
from rbp_engine.run.files.attempts import read_attempts
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import load_run_json
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.store.store import run_directories
from rbp_engine.vocabulary import TRAINING_METHODS

PAGE = Path(__file__).with_name("results.md")
FOLDER = Path(__file__).with_name("results")
KEPT = FOLDER / "runs"
GRADIENTS = FOLDER / "gradients-by-T.json"
SHUFFLED = FOLDER / "shuffled-time"
SEEDS = 3  # a cell of fewer is not on the page
#: The sweeps of the protocol: each of their differences to a control is judged, all together.
PAIRED = ("fashion-mnist-paired",)
MARGIN = 0.01
SWEEPS = (
    *PAIRED,
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
    "fashion-mnist-paired": (
        ("differences", "Differences to the control: a dot for each seed, their mean, and a band of one point"),
        ("accuracy-vs-T", "Accuracy against T"),
        *CURVES,
    ),
    "cifar10-resnet18-narrow": (
        *CURVES,
        ("gradients", "Gradients against BPTT's, and the errors of rate coding, by epoch and by layer"),
        ("firing-rates", "Firing rates by layer and timestep"),
    ),
}
GRADIENTS_TEXT = """\
## Rate gradients against BPTT's, by T

On the first {images} test images of Fashion-MNIST, at one checkpoint: trained by rate_M at T = 4, seed 11.

    rbp train docs/results/results-fashion-mnist-paired.toml method=rate_m T=4 seed=11 probes.gradients_images=256
    rbp eval last gradients --timesteps 1,2,3,4,5,6,7,8 --json > docs/results/gradients-by-T.json

![Cosine to BPTT by T, a line for each layer](results/gradients-by-T.svg)

From T = 2 on, the cosine of all weights together is {ranges},
lowest at T = 2; above T = 3 it does not grow, though the paper's does from T = 4 to 6, in networks trained at each.
rate_M is furthest from BPTT in the second convolution, rate_S in the first or second; one checkpoint says nothing of
others.
"""
ORDERS = ("in-order", "shuffled")
SHUFFLED_TEXT = """\
## Time shuffled

The paper's test as a demonstration, with one seed: each layer's inputs in an order drawn anew for each batch. The
digits row by row are the control.

    for method in bptt rate_m; do
      rbp train docs/results/results-fashion-mnist-paired.toml T=4 seed=11 method=$method --id fashion-mnist-$method
      rbp train docs/results/results-sequential-digits.toml seed=11 method=$method --id sequential-digits-$method
      for run in fashion-mnist-$method sequential-digits-$method; do
        rbp eval $run --json > docs/results/shuffled-time/$run-in-order.json
        rbp eval $run --shuffle-time --json > docs/results/shuffled-time/$run-shuffled.json
      done
    done

{table}

By either method, the network of still images loses nothing, and that of sequences about a third of its accuracy.
The Fashion-MNIST runs' own evaluations of the same weights gave 90.11 and 90.03 %: why they differ is not known.
"""
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


def cells_of(name: str) -> list[Cell]:
    """The table's cells of a sweep, from the runs that are kept."""
    judged_together = PAIRED if name in PAIRED else (name,)
    presets = [f"results-{one}" for one in judged_together]
    entries, excluded = collect([run for run in run_directories(KEPT) if load_run_json(run).preset in presets])
    if excluded:
        raise SystemExit("\n".join(f"{run.id}: {run.reason}" for run in excluded))
    runs = [run for cell in make_cells(entries) if len(cell.runs) >= SEEDS for run in cell.runs]
    cells = make_cells(runs, MARGIN if name in PAIRED else None)
    return [cell for cell in cells if load_run_json(cell.first.run).preset == f"results-{name}"]


def page(pictures: Path = FOLDER) -> str:
    """The page: its introduction as it is, then a section for each sweep. The pictures are drawn into a folder."""
    introduction, _, _ = PAGE.read_text().partition("## ")
    sections = [*(section(name, pictures) for name in SWEEPS), gradients_by_timesteps(pictures), shuffled_time()]
    return "\n".join([f"{introduction.rstrip()}\n", *sections])


def section(name: str, pictures: Path) -> str:
    """The part of the page that tells of a sweep."""
    sweep = f"results-{name}"
    preset = tomllib.loads((FOLDER / f"{sweep}.toml").read_text())
    title = preset["title"].removeprefix("For docs/results.md: ")
    parts = [f"## {title[0].upper()}{title[1:]}", preset["description"].strip()]
    parts.append(f"    rbp sweep docs/results/{sweep}.toml")
    cells = cells_of(name)
    if not cells:
        runs = sum(load_run_json(run).preset == sweep for run in run_directories(KEPT))
        return "\n\n".join([*parts, f"No row has {SEEDS} seeds yet: {runs} runs are trained.", ""])
    parts.append(f"All rows: `{' '.join(common(cells))}`.")
    # The data set and the network are the heading's, the notes the introduction's; costs are those of docs/bench.md.
    shown = [column for column in columns(cells, costs=False) if column.head not in ("data set", "network", "best %")]
    parts.append(
        table([[column.head for column in shown], *([column.word(cell) for column in shown] for cell in cells)])
    )
    entries = [entry for cell in cells for entry in cell.runs]
    for kind, text in FIGURES_OF.get(name, CURVES):
        draw(kind, entries, pictures / f"{name}-{kind}.svg", FigureView(margin=MARGIN))
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


def gradients_by_timesteps(pictures: Path) -> str:
    """The part of the page on the gradients of the rate methods at one checkpoint, by T and layer."""
    results = json.loads(GRADIENTS.read_text())
    rows, ranges = [], []
    for method, reference in (("rate_m", "bptt"), ("rate_s", "bptt_s")):
        by_t = {result["timesteps"]: result for result in results if result["method"] == method}
        cosines = {"all": {T: found["cosine"] for T, found in by_t.items()}} | {
            layer: {T: found["by_weight"][layer]["cosine"] for T, found in by_t.items()}
            for layer in results[0]["by_weight"]
        }
        points = [{T: spread([cosine]) for T, cosine in by_t.items()} for by_t in cosines.values()]
        lines = lines_of([*cosines], [""] * len(cosines), points)
        called = TRAINING_METHODS[method]
        rows.append([Panel("Timesteps T", f"Cosine of {called} to {TRAINING_METHODS[reference]}", 1.0, True, lines)])
        whole = [cosine for T, cosine in cosines["all"].items() if T > 1]
        ranges.append(f"{min(whole):.2f} to {max(whole):.2f} for {called}")
    write(rows, pictures / "gradients-by-T.svg", FigureView(y_min=0.85, y_max=1.01))
    return GRADIENTS_TEXT.format(images=results[0]["samples"], ranges=" and ".join(ranges))


def shuffled_time() -> str:
    """The part of the page on accuracies with time shuffled, as in the paper."""
    rows = [["run", "T", "images", "in order %", "shuffled %", "difference"]]
    for file in sorted(SHUFFLED.glob("*-in-order.json")):
        run = file.name.removesuffix("-in-order.json")
        (plain,), (shuffled,) = (json.loads((SHUFFLED / f"{run}-{how}.json").read_text()) for how in ORDERS)
        before, after = 100 * plain["top1"], 100 * shuffled["top1"]
        counts = [str(plain[name]) for name in ("timesteps", "samples")]
        rows.append([run, *counts, f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}".replace("-", "−")])
    return SHUFFLED_TEXT.format(table=table(rows))


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
