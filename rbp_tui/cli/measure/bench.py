"""`rbp bench`: the cost of a training step by method, or the speed of the loader."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_tui.cli import completion
from rbp_tui.cli.options import Json
from rbp_tui.cli.output import console, fail, print_json, print_rich, say
from rbp_tui.cli.train.interrupts import end_on_sigterm
from rbp_tui.cli.trust import warn_of_shared_presets
from rbp_tui.text.styled import styled

if TYPE_CHECKING:
    from rich.table import Table

    from rbp_engine.bench.results.comparison import Candidate, ComparisonRow

# The network and batch of the table in docs/bench.md, used if none is named.
PRESET, BATCH = "cifar10-resnet18", 32
HEADS = ("step", "images/s", "memory", "saved", "units", "time", "memory", "ANN")


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples:  rbp bench   ·   rbp bench digits --timesteps 2,4,8 -o cost.svg   ·   "
        "rbp bench --methods rate_m --precision fp32,bf16   ·   rbp bench --data"
    )(bench)


def bench(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PRESET KEY=VALUE",
            help=f"The network, its data's shape, and settings on top; {PRESET} with a batch of {BATCH} if not named.",
            show_default=False,
            autocompletion=completion.preset_then_settings,
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="M,M,…", help="Training methods.", autocompletion=completion.methods)
    ] = "rate_m,rate_s,bptt",
    timesteps: Annotated[str, typer.Option(metavar="T,T,…", help="Numbers of timesteps.")] = "1,2,4,8",
    precision: Annotated[
        str,
        typer.Option(
            metavar="P,P,…",
            help="Values of train.precision; the preset's own if left out.",
            autocompletion=completion.precisions,
        ),
    ] = "",
    kernel: Annotated[
        str,
        typer.Option(
            metavar="K,K,…",
            help="Values of train.kernel; the preset's own if left out.",
            autocompletion=completion.kernels,
        ),
    ] = "",
    against: Annotated[
        str,
        typer.Option(metavar="B,B,…", help="Baselines; an empty text for none.", autocompletion=completion.baselines),
    ] = "spikingjelly,two_pass,ann",
    batch: Annotated[int | None, typer.Option(metavar="B", help="Images per step.", show_default=False)] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Rounds; medians are shown.")] = 5,
    busy: Annotated[
        bool, typer.Option("--busy", help="Other programs are running: let the baselines' threads sleep, not spin.")
    ] = False,
    data: Annotated[bool, typer.Option("--data", help="Measure loading and augmentation instead.")] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Write .json, or draw .svg, .pdf, .png.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a training step: method by T by precision by kernel, against SpikingJelly's BPTT and an ANN.

    Each variant has its own process; they take turns. The data need not be here: random images do.

    Exit codes: 0 measured, 1 something could not be measured, 2 a setting is wrong.
    """
    end_on_sigterm()
    named = [word for word in words or [] if "=" not in word]
    overrides = [word for word in words or [] if "=" in word] + ([] if batch is None else [f"batch={batch}"])
    if len(named) > 1:
        raise typer.BadParameter(f"one preset, then KEY=VALUE words; got {' and '.join(named)}")
    for name in named:
        warn_of_shared_presets(name)
    for path in output or []:
        _check(path, figures=not data)
    if data:
        _bench_data(named, overrides, repeats, output or [], as_json=as_json)
        return
    from rbp_engine.bench.results import comparison

    if unknown := [name for name in _words(against) if name not in comparison.BASELINES]:
        raise typer.BadParameter(f"no baseline is called '{unknown[0]}': one of {', '.join(comparison.BASELINES)}")
    wanted = comparison.candidates(
        named[0] if named else PRESET,
        overrides if named else [f"batch={BATCH}", *overrides],
        methods=_words(methods),
        timesteps=_numbers(timesteps),
        precisions=_words(precision),
        kernels=_words(kernel),
        against=_words(against),
    )
    _say_if_busy(busy=busy)
    rows = _measure(wanted, repeats, busy=busy)
    document = comparison.document(rows, wanted)
    for path in output or []:
        _write(path, rows, document)
    if as_json:
        print_json(document)
    else:
        print_rich(_table(rows))
    for row in rows:
        if row.problem:
            fail(f"{row.method}, T = {row.timesteps}: {row.problem}", 1)
    raise typer.Exit(1 if any(row.problem for row in rows) else 0)


def _bench_data(
    named: Sequence[str], overrides: Sequence[str], repeats: int, output: Sequence[Path], *, as_json: bool
) -> None:
    from rbp_engine.data.catalog import require
    from rbp_engine.preset import load_preset
    from rbp_tui.cli.measure.loading import measure_loading, print_rates

    if overrides and not named:
        raise typer.BadParameter(f"{' '.join(overrides)} of which preset? Name one before it")
    loaded = load_preset(named[0], overrides) if named else None
    if loaded is not None and "data.name" not in loaded.own_code:
        require(loaded.preset.data.name)
    document = measure_loading(loaded, repeats)
    for path in output:
        _write_json(path, document)
    if as_json:
        print_json(document)
    else:
        print_rates(document["rates"])


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise typer.BadParameter(f"--timesteps takes whole numbers with commas between them, got '{text}'") from None


def _check(path: Path, *, figures: bool) -> None:
    """Refuse a file that cannot be written, before anything is measured."""
    from rbp_engine.report.figure import check_path

    if path.suffix.lower() != ".json" and figures:
        check_path(path)
    elif path.suffix.lower() != ".json" or not path.parent.is_dir() or path.is_dir():
        raise typer.BadParameter(f"cannot write {path}: expected a .json file in an existing folder")


def _say_if_busy(*, busy: bool) -> None:
    """Warn on stderr if other programs would distort the measurement."""
    from rbp_engine.bench.measure.load import QUIET, busy_share

    if (share := busy_share()) > QUIET:
        rest = "" if busy else "; with --busy the baselines suffer less"
        percent = f"{100 * share:.0f}"
        say("[yellow]other programs keep {} % of the cores busy: the times will be off{}[/]", percent, rest)


def _measure(wanted: "list[Candidate]", repeats: int, *, busy: bool) -> "list[ComparisonRow]":
    """Measure, with a progress bar on stderr."""
    from rich.progress import Progress

    from rbp_engine.bench.results.comparison import compare

    with Progress(console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task("")

        def on_turn(timesteps: int, done: int, total: int) -> None:
            progress.update(bar, description=f"T = {timesteps}", completed=done, total=total)

        return compare(wanted, rounds=repeats, busy=busy, on_turn=on_turn)


def _write(path: Path, rows: "Sequence[ComparisonRow]", document: Any) -> None:
    from rbp_engine.bench.results.figure import draw

    if path.suffix.lower() == ".json":
        _write_json(path, document)
    else:
        draw(rows, path)
        say("drawn: {}", path)


def _write_json(path: Path, document: Any) -> None:
    import json

    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say("written: {}", path)


def _table(rows: "Sequence[ComparisonRow]") -> "Table":
    """One row per variant, grouped by T; ratios to SpikingJelly's BPTT, and to the ANN."""
    from itertools import groupby

    from rich.table import Column, Table

    from rbp_engine.bench.results.figure import title

    columns = [Column(no_wrap=True), *(Column(head, justify="right", no_wrap=True) for head in HEADS)]
    table = Table(*columns, box=None, pad_edge=False, collapse_padding=True, header_style="dim")
    for timesteps, group in groupby(rows, key=lambda row: row.timesteps):
        table.add_row(styled("[bold]T = {}[/]", timesteps))
        for row in group:
            table.add_row(title(row, " "), *_figures(row))
    return table


def _figures(row: "ComparisonRow") -> list[str]:
    from rbp_tui.text import format as fmt
    from rbp_tui.text.cost_text import span

    if row.measured is None:
        return ["–"] * len(HEADS)
    measured = row.measured
    ratios = ["–" if ratio is None else f"{ratio:.2f}" for ratio in (row.time, row.memory, row.floor)]
    memory = [fmt.size(measured.peak), fmt.size(measured.saved), f"{measured.units:.1f}"]
    return [span(measured.seconds), fmt.thousands(row.samples_per_s), *memory, *ratios]
