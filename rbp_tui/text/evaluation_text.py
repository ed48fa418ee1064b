"""What `rbp eval` finds, as tables for the command and the dashboard."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
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
    Evaluation,
    Robustness,
)
from rbp_engine.run.timesteps_needed import timesteps_needed
from rbp_tui.text import format as fmt
from rbp_tui.text.styled import styled
from rbp_tui.text.text_table import empty_table

#: Up to so many classes the whole confusion matrix is shown.
WHOLE_MATRIX = 12
NAME_WIDTH = 14
# Of a class, the share of its samples that are taken for another: few, and many.
FEW, MANY = 0.005, 0.05
CONFUSIONS_NAMED = 3
SHOWN_CLASSES, SHOWN_CONFUSIONS = 20, 15


def evaluation_columns(found: Evaluation) -> tuple[RenderableType, RenderableType]:
    """What stands on the left, or above, and what on the right, or below."""
    left: list[RenderableType] = []
    right: list[RenderableType] = []
    robust, classes = found.robustness, found.by_class
    if robust is not None:
        left += [heading("robustness"), evaluated_text(robust.of), robustness_table(robust)]
        left += [robustness_notes(robust), Text()]
    if classes is not None:
        # Which weights the classes are of, unless a line above has it.
        of = [] if robust is not None and robust.of == classes.of else [evaluated_text(classes.of)]
        rest = len(classes.classes) - SHOWN_CLASSES
        more = [styled("[dim]and {} more: rbp eval RUN classes --json has all[/]", rest)] if rest > 0 else []
        left += [heading("classes, the least accurate first"), *of, class_table(classes), *more, Text()]
        if len(classes.classes) > WHOLE_MATRIX:
            right += [heading("most frequent confusions"), confusion_table(classes), Text()]
        else:
            right += [heading("confusion matrix: classes down, predictions across"), matrix_table(classes), Text()]
        right.append(heading("worst mistakes"))
        right.append(mistake_table(classes) if classes.worst else Text("none: every prediction is right", "dim"))
    return Group(*left), Group(*right)


def heading(words: str) -> Text:
    """Of a table below it."""
    return Text(words, "bold")


def evaluated_text(of: EvaluatedWeights) -> Text:
    """Which weights were evaluated on what, and when."""
    when = time.strftime("%d %b %H:%M", time.localtime(of.t))
    step = of.checkpoint.removeprefix("step-").lstrip("0")
    checkpoint = f", step {step}" if of.checkpoint.startswith("step-") else ""
    known = (fmt.percent(of.top1), fmt.thousands(of.samples), of.split, of.timesteps, of.weights, checkpoint, when)
    return styled("[dim]{} % of {} {} images at T = {}; {} weights{}; {}[/]", *known)


def accuracy_table(results: Sequence[dict[str, Any]]) -> Table:
    """A row for each T: accuracies, how many timesteps are needed, and the accuracy after each."""
    table = empty_table([], ["T", "top-1 %", "top-5 %", "loss", "T needed"])
    table.add_column("top-1 % after each step")
    for result in results:
        by_step = " ".join(fmt.percent(top1) for top1 in result["top1_by_step"])
        accuracies = [fmt.percent(result["top1"]), fmt.percent(result["top5"]), fmt.number(result["loss"])]
        needed = str(timesteps_needed(result["top1_by_step"]) or "–")
        _add(table, str(result["timesteps"]), *accuracies, needed, by_step)
    return table


def robustness_table(found: Robustness) -> Table:
    """A row for each disturbance: the accuracy, and its difference to the plain one."""
    table = empty_table(["tested with"], ["top-1 %", "difference"])
    _add(table, f"T = {found.of.timesteps}, as it is", fmt.percent(found.of.top1), "")
    for row in found.rows:
        _add(table, _disturbance(row), fmt.percent(row.top1), fmt.points(row.top1 - found.of.top1))
    return table


def robustness_notes(found: Robustness) -> Text:
    """How the disturbances are drawn."""
    return styled(
        "[dim]differences in percentage points; σ is the standard deviation of the input, {}; seed {}[/]",
        "1 for normalised images" if found.input_deviation == 1.0 else f"here {fmt.number(found.input_deviation)}",
        found.seed,
    )


def _disturbance(row: Disturbed) -> str:
    return {
        TIMESTEPS: f"T = {row.timesteps}",
        SHUFFLED: "time shuffled before every layer",
        NOISE: f"noise of {row.amount:g} σ",
        DROPPED: f"no input at {row.amount:.0f} of {row.timesteps} timesteps",
    }.get(row.kind, "")


def class_table(found: ByClass) -> Table:
    """A row for each class, the least accurate first: accuracy, precision, what it is taken for."""
    taken: dict[int, list[str]] = {}
    for confusion in found.confusions:
        taken.setdefault(confusion.label, []).append(f"{class_name(found, confusion.predicted)} ×{confusion.count}")
    table = empty_table(["class"], ["images", "top-1 %", "precision %"])
    table.columns[0].max_width = NAME_WIDTH
    table.add_column("taken for", overflow="ellipsis", no_wrap=True)
    for label in _least_accurate_first(found)[:SHOWN_CLASSES]:
        one = found.classes[label]
        precision = one.right / one.predicted if one.predicted else None
        counts = (fmt.thousands(one.samples), fmt.percent(one.accuracy, 1), fmt.percent(precision, 1))
        _add(table, class_name(found, label), *counts, ", ".join(taken.get(label, [])[:CONFUSIONS_NAMED]))
    return table


def _least_accurate_first(found: ByClass) -> list[int]:
    """The labels; those of classes without a sample last."""
    known = [2.0 if one.accuracy is None else one.accuracy for one in found.classes]
    return sorted(range(len(known)), key=lambda label: known[label])


def matrix_table(found: ByClass) -> Table:
    """The confusion matrix: a row for each class, a column for each prediction; a dot is none."""
    table = empty_table(["class"], [one.name if len(one.name) <= 4 else f"{one.name[:3]}…" for one in found.classes])
    table.columns[0].max_width = NAME_WIDTH
    for label, row in enumerate(found.matrix()):
        total = max(1, sum(row))
        cells = [
            Text(str(count) if count else "·", "bold" if column == label else _style(count / total))
            for column, count in enumerate(row)
        ]
        table.add_row(Text(class_name(found, label)), *cells)
    return table


def _style(share: float) -> str:
    return "dim" if share <= FEW else "yellow" if share <= MANY else "bold red"


def confusion_table(found: ByClass) -> Table:
    """The most frequent confusions."""
    table = empty_table(["class", "taken for"], ["times"])
    for one in found.confusions[:SHOWN_CONFUSIONS]:
        _add(table, class_name(found, one.label), class_name(found, one.predicted), fmt.thousands(one.count))
    return table


def mistake_table(found: ByClass) -> Table:
    """The wrong predictions of the highest confidence; images are counted from 0."""
    table = empty_table(["class", "predicted"], ["confidence %", "image"])
    for one in found.worst:
        names = class_name(found, one.label), class_name(found, one.predicted)
        _add(table, *names, fmt.percent(one.confidence, 1), f"#{one.index}")
    return table


def class_name(found: ByClass, label: int) -> str:
    """The name of a class."""
    return one_line(found.classes[label].name, LONGEST_NAME)


def _add(table: Table, *words: str) -> None:
    """Add a row; brackets in its words are no markup."""
    table.add_row(*map(Text, words))
