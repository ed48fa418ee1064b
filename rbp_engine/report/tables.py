"""The report as text: one table of words for screens, Markdown and LaTeX; numbers in CSV and JSON."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from rbp_engine.printable import LONGEST_TEXT, Lines, for_csv, one_line, visible
from rbp_engine.report import names
from rbp_engine.report.cells import Cell
from rbp_engine.report.collect import ExcludedRun, label_words
from rbp_engine.report.spread import JUDGED, Spread
from rbp_engine.run.files.energy import PJ_IN_UJ, read_energy
from rbp_engine.vocabulary import TRAINING_METHODS

#: Marks a best epoch that was chosen by the reported accuracy itself.
CHOSEN_ON_TEST = "†"
#: Marks a difference to single-step BPTT, and one to BPTT whose steps are as small as those of gradients of 1/T.
SINGLE_STEP, EQUAL_STEPS = "‡", "§"
AGAINST_BPTT = (
    "− BPTT: last minus BPTT's with the same settings, paired by seed, ± half of its 95 % interval, in percentage "
    "points"
)
OTHER_CONTROLS = {
    SINGLE_STEP: "against single-step BPTT (BPTT_S), which has the same batch norm",
    EQUAL_STEPS: "against BPTT at lr/T and T times the weight decay, whose steps are as small",
}
COSTS = (
    "ms/step: mean time of a training step, by the clock and with what ran beside it; MiB: largest peak of a run, on a "
    "CPU of its whole process"
)
HELD_OUT = "best epoch chosen on held-out data; the test set was used once, with the last and the best weights"


@dataclass(frozen=True)
class ReportColumn:
    """A column of the table: its head, that of LaTeX, its word for a cell, and whether it is of words, on the left."""

    head: str
    latex: str
    word: Callable[[Cell], str]
    left: bool = False


def columns(cells: Sequence[Cell], *, costs: bool, settings: bool = True) -> list[ReportColumn]:
    """The columns that say something of these cells; `costs` are those of time and memory.

    Accuracies are percentages with two decimals, differences are in percentage points. The `settings` that distinguish
    a cell are the last column.
    """
    shown = list(_ALWAYS)
    if any(cell.paper is not None for cell in cells):
        shown += _OF_THE_PAPER
    if any(cell.against for cell in cells):
        shown.append(_AGAINST_BPTT)
    if any(cell.judged for cell in cells):
        shown.append(_JUDGED)
    shown += [_RUNS, *(_COSTS if costs else ())]
    return [*shown, *([_SETTINGS] if settings and any(map(label, cells)) else [])]


def label(cell: Cell) -> str:
    """The settings that distinguish a cell, "" for none."""
    return one_line(", ".join(cell.words("label")), LONGEST_TEXT)


def new_block(cells: Sequence[Cell]) -> list[bool]:
    """For each cell, whether a different data set or network begins after it."""
    changes = [
        (one.first.data, one.first.network) != (other.first.data, other.first.network) for one, other in pairwise(cells)
    ]
    return [*changes, False]


def spread_text(values: Spread | None) -> str:
    """`95.61 ± 0.12` in percent; the deviation of a single run is a dash."""
    if values is None:
        return "–"
    return f"{_percent(values.mean)} ± {'–' if values.std is None else _percent(values.std)}"


def notes(cells: Sequence[Cell], *, costs: bool) -> list[str]:
    """The notes below the table: first what the figures are, `costs` among them, then remarks on rows.

    These have the titles of their rows, unless they are on all.
    """
    if not cells:
        return []
    found = ["mean ± sample standard deviation over seeds, top-1 accuracy on the test set in percent"]
    if any(cell.paper is not None for cell in cells):
        found.append("diff: last − paper, in percentage points")
    against = [cell for cell in cells if cell.against]
    found += [AGAINST_BPTT] if against else []
    found += [
        f"{sign} {text}" for sign, text in OTHER_CONTROLS.items() if any(sign in _signs(cell) for cell in against)
    ]
    found += dict.fromkeys(note for cell in against if not cell.equal_steps for note in cell.smaller_steps())
    found += [JUDGED] if any(cell.judged for cell in cells) else []
    if costs:
        found.append(COSTS)
    if any(not cell.first.held_out and cell.best for cell in cells):
        found.append(f"{CHOSEN_ON_TEST} the best epoch was chosen on the test set itself")
    particular: defaultdict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for note in [HELD_OUT, *cell.notes] if cell.first.held_out else cell.notes:
            particular[note].append(cell.title)
    found += [
        note if len(titles) == len(cells) > 1 else f"{note} – {'; '.join(titles)}"
        for note, titles in particular.items()
    ]
    return [one_line(note, LONGEST_TEXT) for note in found]


def markdown(cells: Sequence[Cell]) -> Lines:
    """A Markdown table with its notes as a list."""
    shown = columns(cells, costs=True)
    lines = [[column.head for column in shown], [":--" if column.left else "--:" for column in shown]]
    lines += [[column.word(cell) for column in shown] for cell in cells]
    text = "".join(f"| {' | '.join(map(_markdown_text, line))} |\n" for line in lines)
    listed = "".join(f"- {_markdown_text(note)}\n" for note in notes(cells, costs=True))
    return visible(f"{text}\n{listed}" if listed else text)


def latex(cells: Sequence[Cell]) -> Lines:
    """A booktabs `tabular`; its notes are comments above it."""
    shown = columns(cells, costs=True)
    lines = ["% needs \\usepackage{booktabs}", *(f"% {note}" for note in notes(cells, costs=True))]
    lines += [f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in shown)}}}", "\\toprule"]
    lines += [" & ".join(column.latex for column in shown) + r" \\", "\\midrule"]
    for cell, another in zip(cells, new_block(cells), strict=True):
        lines.append(" & ".join(latex_text(column.word(cell)) for column in shown) + r" \\")
        if another:
            lines.append("\\midrule")
    return visible("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n")


def csv_text(cells: Sequence[Cell]) -> Lines:
    """One line per cell; accuracies are fractions, and missing values are empty. No text in it is a formula."""
    out = io.StringIO()
    plain = [_plain(cell) for cell in cells]
    writer = csv.DictWriter(out, _CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for cell in plain:
        flat = {f"{name}_{part}": (cell[name] or {}).get(part) for name in ("last", "best") for part in ("mean", "std")}
        joined = {
            "seeds": " ".join(map(str, cell["seeds"])),
            "settings": ", ".join(label_words(cell["settings"])),
            "notes": "; ".join(cell["notes"]),
        }
        values = cell | flat | joined
        writer.writerow({name: for_csv(value) for name, value in values.items() if name in _CSV_FIELDS})
    return visible(out.getvalue())


def document(cells: Sequence[Cell], excluded: Sequence[ExcludedRun], runs: Path) -> dict[str, Any]:
    """The whole report for JSON; accuracies and their difference are fractions."""
    return {
        "runs_directory": str(runs),
        "rows": [_plain(cell) for cell in cells],
        "left_out": [vars(run) for run in excluded],
    }


_CSV_FIELDS = (
    "data",
    "network",
    "method",
    "timesteps",
    "settings",
    "last_mean",
    "last_std",
    "best_mean",
    "best_std",
    "best_chosen_on",
    "timesteps_needed",
    "paper",
    "difference",
    "control",
    "against_control",
    "against_control_interval",
    "verdict",
    "step_ms",
    "mem_peak",
    "synops",
    "energy_uj",
    "runs",
    "seeds",
    "experiment",
    "notes",
)


def _energy(cell: Cell) -> dict[str, float | None]:
    """Mean synaptic operations and microjoules of an image, over the runs of which they were measured."""
    found = [energy for entry in cell.runs if (energy := read_energy(entry.run)) is not None]
    return {
        "synops": mean(energy.synops for energy in found) if found else None,
        "energy_uj": mean(energy.spiking.total_pj / PJ_IN_UJ for energy in found) if found else None,
    }


def _plain(cell: Cell) -> dict[str, Any]:
    return {
        "data": cell.first.data,
        "network": cell.first.network,
        "method": cell.first.method,
        "timesteps": cell.first.timesteps or None,
        "settings": dict(cell.label),
        "experiment": cell.experiment,
        "last": vars(cell.last),
        "best": vars(cell.best) if cell.best else None,
        "best_chosen_on": "held-out" if cell.first.held_out else "test",
        "timesteps_needed": cell.timesteps_needed.mean if cell.timesteps_needed else None,
        "paper": cell.paper,
        "difference": cell.difference,
        "control": f"{cell.control} at lr/T" if cell.equal_steps else cell.control or None,
        "against_control": cell.against.mean if cell.against else None,
        "against_control_interval": cell.against.interval if cell.against else None,
        "verdict": cell.judged.word if cell.judged else None,
        "step_ms": cell.step_ms,
        "mem_peak": cell.mem_peak,
        **_energy(cell),
        "runs": len(cell.runs),
        "seeds": [entry.summary.seed for entry in cell.runs],
        "ids": [entry.run.id for entry in cell.runs],
        "notes": list(cell.notes),
    }


def latex_text(text: str) -> str:
    """The text with LaTeX's special characters escaped, and our own signs as LaTeX commands."""
    if text in TRAINING_METHODS.values():
        base, underscore, index = text.partition("_")
        return f"{base}$_\\mathrm{{{index}}}$" if underscore else base
    return "".join(_LATEX.get(character, character) for character in text)


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    CHOSEN_ON_TEST: r"$^\dagger$",
    SINGLE_STEP: r"$^\ddagger$",
    EQUAL_STEPS: r"$^\S$",
}


_MARKDOWN = {character: f"\\{character}" for character in "\\|*_`[]~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _markdown_text(text: str) -> str:
    return "".join(_MARKDOWN.get(character, character) for character in text)


def _percent(fraction: float) -> str:
    return f"{100.0 * fraction:.2f}"


def _with_interval(difference: Spread | None) -> str:
    if difference is None:
        return "–"
    half = difference.interval
    return f"{_signed(difference.mean)} ± {'–' if half is None else _percent(half)}"


def _signs(cell: Cell) -> str:
    """What the control of a cell is, beside BPTT with the same settings."""
    single = SINGLE_STEP if cell.against and cell.control == "bptt_s" else ""
    return single + (EQUAL_STEPS if cell.against and cell.equal_steps else "")


def _signed(fraction: float) -> str:
    # A proper minus, as wide as the plus, and no sign if the value rounds to 0.
    text = f"{100.0 * fraction:+.2f}"
    return "0.00" if text in {"+0.00", "-0.00"} else text.replace("-", "−")


_ALWAYS = (
    ReportColumn("data set", "Data set", lambda cell: names.data_set(cell.first.data), left=True),
    ReportColumn("network", "Network", lambda cell: names.network(cell.first.network), left=True),
    ReportColumn("method", "Method", lambda cell: names.method(cell.first.method), left=True),
    ReportColumn("T", "$T$", lambda cell: str(cell.first.timesteps or "–")),
    ReportColumn("last %", r"Last (\%)", lambda cell: spread_text(cell.last)),
    ReportColumn(
        "best %",
        r"Best (\%)",
        lambda cell: spread_text(cell.best) + ("" if cell.first.held_out or cell.best is None else CHOSEN_ON_TEST),
    ),
)
_OF_THE_PAPER = (
    ReportColumn(
        "paper %",
        r"Paper (\%)",
        lambda cell: _percent(cell.paper) if isinstance(cell.paper, float) else cell.paper or "–",
    ),
    ReportColumn("diff", "Difference", lambda cell: "–" if cell.difference is None else _signed(cell.difference)),
)
_AGAINST_BPTT = ReportColumn("− BPTT", "$-$ BPTT", lambda cell: _with_interval(cell.against) + _signs(cell))
_JUDGED = ReportColumn("verdict", "Verdict", lambda cell: cell.judged.word if cell.judged else "–", left=True)
_SETTINGS = ReportColumn("settings", "Settings", label, left=True)
_RUNS = ReportColumn("runs", "Runs", lambda cell: str(len(cell.runs)))
_COSTS = (
    ReportColumn("ms/step", "ms/step", lambda cell: "–" if cell.step_ms is None else f"{cell.step_ms:.0f}"),
    ReportColumn("MiB", "MiB", lambda cell: "–" if cell.mem_peak is None else f"{cell.mem_peak / 2**20:.0f}"),
)
