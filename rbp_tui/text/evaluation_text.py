"""What `rbp eval` finds, as tables for the command and the dashboard."""

import time
from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from rbp_engine.printable import LONGEST_NAME, one_line
from rbp_engine.run.files.evaluation_json import (
    DROPPED,
    NOISE,
    SHUFFLED,
    TIMESTEPS,
    ByClass,
    Disturbed,
    EvaluatedWeights,
    Robustness,
)
from rbp_engine.run.timesteps_needed import timesteps_needed
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled

#: Up to so many classes the whole confusion matrix is shown.
WHOLE_MATRIX = 12
NAME_WIDTH = 16


def evaluated_text(of: EvaluatedWeights) -> Text:
    """Which weights were evaluated on what, and when."""
    when = time.strftime("%d %b %H:%M", time.localtime(of.t))
    known = (of.weights, of.checkpoint, of.timesteps, fmt.percent(of.top1), fmt.thousands(of.samples), of.split, when)
    return styled("[dim]{} weights ({}) at T = {}: {} % top-1 of {} {} images, {}[/]", *known)


def accuracy_table(results: Sequence[dict[str, Any]]) -> Table:
    """A row for each T: accuracies, how many timesteps are needed, and the accuracy after each."""
    numbers = [Column(heading, justify="right") for heading in ("T", "top-1 %", "top-5 %", "loss", "T needed")]
    table = Table(*numbers, "top-1 % after each step", box=None, pad_edge=False, header_style="dim")
    for result in results:
        by_step = " ".join(fmt.percent(top1) for top1 in result["top1_by_step"])
        accuracies = [fmt.percent(result["top1"]), fmt.percent(result["top5"]), fmt.number(result["loss"])]
        needed = str(timesteps_needed(result["top1_by_step"]) or "–")
        table.add_row(str(result["timesteps"]), *accuracies, needed, by_step)
    return table


def robustness_table(found: Robustness) -> Table:
    """A row for each disturbance: the accuracy, and its difference to the plain one."""
    numbers = [Column(heading, justify="right", no_wrap=True) for heading in ("top-1 %", "difference")]
    table = Table(Column("tested with"), *numbers, box=None, pad_edge=False, header_style="dim")
    table.add_row(f"T = {found.of.timesteps}, as it is", fmt.percent(found.of.top1), "")
    for row in found.rows:
        table.add_row(_disturbance(row), fmt.percent(row.top1), fmt.points(row.top1 - found.of.top1))
    return table


def robustness_notes(found: Robustness) -> Text:
    """How the disturbances are drawn."""
    unit = "" if found.input_deviation == 1.0 else f" = {fmt.number(found.input_deviation)}, that of the frames"
    return styled(
        "[dim]difference in percentage points; σ is the standard deviation of the input{}; "
        "all that is random comes from seed {}[/]",
        unit or ", 1 for normalised images",
        found.seed,
    )


def _disturbance(row: Disturbed) -> str:
    return {
        TIMESTEPS: f"T = {row.timesteps}",
        SHUFFLED: "time shuffled before every layer",
        NOISE: f"noise of {row.amount:g} σ",
        DROPPED: f"no input at {row.amount:.0f} of {row.timesteps} timesteps",
    }.get(row.kind, "")


def class_table(found: ByClass, most: int | None = None) -> Table:
    """A row for each class, the least accurate first: its accuracy, and what it is most often taken for.

    At most `most` of them.
    """
    order = sorted(
        range(len(found.classes)), key=lambda label: (found.classes[label].accuracy is None, _accuracy(found, label))
    )
    taken: dict[int, list[str]] = {}
    for confusion in found.confusions:
        taken.setdefault(confusion.label, []).append(f"{class_name(found, confusion.predicted)} ×{confusion.count}")
    numbers = [Column(heading, justify="right", no_wrap=True) for heading in ("images", "top-1 %", "precision %")]
    name = Column("class", no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    table = Table(name, *numbers, "taken for", box=None, pad_edge=False, header_style="dim")
    for label in order[:most]:
        one = found.classes[label]
        precision = one.right / one.predicted if one.predicted else None
        counts = (fmt.thousands(one.samples), fmt.percent(one.accuracy, 1), fmt.percent(precision, 1))
        table.add_row(class_name(found, label), *counts, ", ".join(taken.get(label, [])[:3]))
    return table


def _accuracy(found: ByClass, label: int) -> float:
    accuracy = found.classes[label].accuracy
    return 0.0 if accuracy is None else accuracy


def matrix_table(found: ByClass, dim_below: float = 0.005) -> Table:
    """The confusion matrix: a row for each class, a column for each prediction; a dot is none."""
    heads = [Column(_short(class_name(found, label)), justify="right") for label in range(len(found.classes))]
    table = Table(Column("class \\ predicted", no_wrap=True), *heads, box=None, pad_edge=False, header_style="dim")
    for label, row in enumerate(found.matrix()):
        total = max(1, sum(row))
        cells = [
            Text("·" if not count else str(count), _style(count / total, right=label == column, dim_below=dim_below))
            for column, count in enumerate(row)
        ]
        table.add_row(class_name(found, label), *cells)
    return table


def _style(share: float, *, right: bool, dim_below: float) -> str:
    if right:
        return "bold"
    return "dim" if share <= dim_below else "yellow" if share < 0.05 else "bold red"


def confusion_table(found: ByClass, most: int) -> Table:
    """The most frequent confusions."""
    table = Table("class", "taken for", Column("times", justify="right"), box=None, pad_edge=False, header_style="dim")
    for confusion in found.confusions[:most]:
        table.add_row(
            class_name(found, confusion.label), class_name(found, confusion.predicted), fmt.thousands(confusion.count)
        )
    return table


def mistake_table(found: ByClass, most: int | None = None) -> Table:
    """The wrong predictions of the highest confidence."""
    numbers = [Column(heading, justify="right") for heading in ("confidence %", "image")]
    table = Table("class", "predicted", *numbers, box=None, pad_edge=False, header_style="dim")
    for one in found.worst[:most]:
        names = class_name(found, one.label), class_name(found, one.predicted)
        table.add_row(*names, fmt.percent(one.confidence, 1), f"#{one.index}")
    return table


def class_name(found: ByClass, label: int) -> str:
    """The name of a class."""
    return one_line(found.classes[label].name, LONGEST_NAME)


def _short(name: str) -> str:
    return name if len(name) <= 4 else f"{name[:3]}…"
