"""The devices of this machine, a line each: its history in braille, its value now, and who uses it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_tui.charts.raster import BRAILLE_COLUMNS, BRAILLE_ROWS, braille
from rbp_tui.dashboard.reading.cards import CardReading
from rbp_tui.dashboard.reading.machine_history import Floats
from rbp_tui.dashboard.reading.machine_reader import MachineReading
from rbp_tui.text import format as fmt

LABEL, VALUE, GAP, BETWEEN = 8, 6, 1, 3
#: Cells of a history at least, and lines of cores at most before they are set side by side.
NARROWEST, MOST_LINES = 6, 8
#: So many lines of cores are never too many.
UNFOLDED = 4
#: What the lines that are not of cores say after their history.
WORDS = 28
MOST_ROWS, ROWS_APART = 8, 3
GIB = 2.0**30
FULL = 0.9  # from this share on, a value is highlighted
NAME = 16
UNKNOWN = "·"


@dataclass(frozen=True)
class Grid:
    """How the lines are laid out: histories of `width` cells and `rows` lines; cores in `columns` side by side.

    `folded`: there are too many for that, so they have one history, of their mean, and a block each.
    """

    width: int
    rows: int
    columns: int
    folded: bool

    @property
    def parts(self) -> int:
        """The values that a history shows."""
        return int(self.width * BRAILLE_COLUMNS)


def grid_for(cores: int, width: int, lines: int) -> Grid:
    """The grid for a panel of that width. `lines` is how many there is room for, above all that does not grow."""
    columns = max(1, min(-(-cores // MOST_LINES), (width + BETWEEN) // (LABEL + NARROWEST + VALUE + BETWEEN)))
    down = max(1, -(-cores // columns))
    folded = down > max(UNFOLDED, lines)
    one = folded or columns == 1
    history = width - LABEL - WORDS if one else (width + BETWEEN) // columns - LABEL - VALUE - BETWEEN
    rows = 1 if folded else max(1, min(MOST_ROWS, lines // down))
    return Grid(max(NARROWEST, history), rows, columns, folded)


def device_lines(
    machine: MachineReading, tracks: Mapping[str, Floats], names: Mapping[int, str], grid: Grid
) -> list[Text]:
    """The lines of all devices. `tracks` are of `MachineHistory`, `names` maps pids to names of runs."""
    lines = _gpu_lines(machine, tracks, names, grid)
    lines += (_folded_cores if grid.folded else _cores)(machine, tracks, grid)
    used, total = machine.memory_used, machine.memory_total
    words = _share(used / total if total else 0.0).append(f"  {fmt.size(used)} of {fmt.size(total)}")
    flat = replace(grid, rows=1)
    lines += _history("memory", tracks.get("memory"), flat, words)
    if machine.disk_total and machine.disk_free is not None:
        words = _share(1.0 - machine.disk_free / machine.disk_total).append(f"  {fmt.size(machine.disk_free)} free")
        lines += _history("disk", tracks.get("disk"), flat, words)
    if machine.traffic is not None:
        traffic = tracks.get("traffic")
        highest = 0.0 if traffic is None else float(np.nanmax(traffic, initial=0.0))
        scaled = traffic / highest if traffic is not None and highest > 0.0 else traffic
        words = Text(f" {fmt.size(machine.traffic)}/s").append(f"  peak {fmt.size(highest)}/s", "dim")
        lines += _history("traffic", scaled, flat, words)
    return lines


def cores_line(machine: MachineReading, span_s: float) -> Text:
    """The time that the histories show, and how busy the machine is, and by whom."""
    busy, runs = sum(machine.cores), sum(use.cores for use in machine.uses)
    line = Text.assemble(("devices", "bold"), (f"  last {span_text(span_s)}  ", "dim"))
    line.append(f"{busy:.1f} of {len(machine.cores)} cores busy")
    if machine.uses:
        line.append(f", {runs:.1f} by runs")
    return line.append(f", load {machine.load[0]:.1f}", "dim")


def span_text(span_s: float) -> str:
    """A length of time in words."""
    return f"{span_s / 60:.0f} min" if span_s < 3600 else f"{span_s / 3600:.0f} h"


def area(values: Floats, rows: int) -> list[str]:
    """Values from 0 to 1 as filled columns in braille, two values a cell; what is known has at least one dot."""
    dots = rows * BRAILLE_ROWS
    known = np.isfinite(values)
    height = np.where(known, np.clip(np.ceil(np.where(known, values, 0.0) * dots), 1, dots), 0)
    cells = braille(np.arange(dots, 0, -1)[:, None] <= height)
    return ["".join(chr(0x2800 + pattern) if pattern else " " for pattern in row) for row in cells.tolist()]


def _history(label: str, track: Floats | None, grid: Grid, words: Text, style: str = "cyan") -> list[Text]:
    """The rows of a device: its label and value are on the last one, where the history has its ground.

    Histories of several rows are kept apart by an empty one.
    """
    drawn = [" " * grid.width] if track is None else area(track, grid.rows - (grid.rows >= ROWS_APART))
    lines = [Text.assemble(" " * LABEL, (row, style)) for row in drawn]
    lines = [Text()] * (grid.rows - len(lines)) + lines
    lines[-1] = Text.assemble((f"{label:<{LABEL}}"[:LABEL], "dim"))
    for known, cells in groupby(drawn[-1].replace(" ", UNKNOWN), lambda cell: cell != UNKNOWN):
        lines[-1].append("".join(cells), style if known else "dim")
    lines[-1].append_text(words)
    return lines


def _cores(machine: MachineReading, tracks: Mapping[str, Floats], grid: Grid) -> list[Text]:
    names = [f"core {number}" for number in range(len(machine.cores))]
    pairs = zip(names, machine.cores, strict=True)
    cells = [_history(name, tracks.get(name), grid, _share(busy)) for name, busy in pairs]
    down = -(-len(cells) // grid.columns)
    return [line for first in range(down) for line in _beside(cells[first::down])]  # as in a newspaper


def _folded_cores(machine: MachineReading, tracks: Mapping[str, Floats], grid: Grid) -> list[Text]:
    """The mean of all cores over time, and how busy each is now, as many a line as fit."""
    count = len(machine.cores)
    known = [tracks[name] for name in (f"core {number}" for number in range(count)) if name in tracks]
    mean = np.mean(known, axis=0) if known else None
    lines = _history("cores", mean, grid, _share(sum(machine.cores) / count))
    for first in range(0, count, grid.width):
        here = machine.cores[first : first + grid.width]
        label = f"{first}–{first + len(here) - 1}"
        blocks = "".join(fmt.BLOCKS[min(7, int(8 * max(0.0, busy)))] for busy in here)
        lines.append(Text.assemble((f"{label:>{LABEL - 1}} ", "dim"), (blocks, "cyan"), ("  each now", "dim")))
    return lines


def _beside(cells: Sequence[Sequence[Text]]) -> list[Text]:
    lines = []
    for rows in zip(*cells, strict=True):
        line = Text()
        widths = max(len(row) for cell in cells for row in cell)
        for number, row in enumerate(rows):
            line.append_text(row)
            if number < len(rows) - 1:
                line.append(" " * (widths - len(row) + BETWEEN))
        lines.append(line)
    return lines


def _gpu_lines(
    machine: MachineReading, tracks: Mapping[str, Floats], names: Mapping[int, str], grid: Grid
) -> list[Text]:
    lines = []
    if machine.silent_s:
        text = f"the NVIDIA driver has not answered for {fmt.duration(machine.silent_s)}"
        lines.append(Text.assemble((f"{'GPU':<{LABEL}}", "dim"), (text, "red"), (" · rbp doctor looks closer", "dim")))
    elif not machine.cards:
        why = f"none: {one_line(machine.no_cards)} · rbp doctor looks closer"
        lines.append(Text.assemble((f"{'GPU':<{LABEL}}{why}", "dim")))
    for card in machine.cards:
        label = f"gpu{card.index}"
        if card.problem:
            lines.append(Text.assemble((f"{label:<{LABEL}}", "dim"), (one_line(card.problem), "red")))
            continue
        busy = card.utilisation
        words = (Text(f"{'–':>{VALUE}}") if busy is None else _share(busy)).append(f"  {_about(card)}", "dim")
        lines += _history(label, tracks.get(label), grid, words)
        words = _share(card.used / card.total if card.total else 0.0)
        words.append(f"  {card.used / GIB:.1f} of {card.total / GIB:.1f} GiB  ").append_text(_users(card, names))
        lines += _history(" memory", tracks.get(f"{label} memory"), replace(grid, rows=1), words)
    return lines


def _about(card: CardReading) -> str:
    parts = [one_line(card.name).removeprefix("NVIDIA ")[:NAME]]
    if card.power is not None and math.isfinite(card.power):
        parts.append(f"{card.power:.0f} W")
    if card.temperature is not None:
        parts.append(f"{card.temperature:.0f} °C")
    return "  ".join(parts)


def _users(card: CardReading, names: Mapping[int, str]) -> Text:
    users = list(dict.fromkeys(names[pid] for pid, _ in card.processes if pid in names))
    if others := sum(pid not in names for pid, _ in card.processes):
        users.append(f"{others} other{'s' if others > 1 else ''}")
    return Text(one_line(" ".join(users)) or "nobody", "cyan" if users else "dim")


def _share(share: float) -> Text:
    """A fraction as a value of VALUE cells, highlighted if it is high."""
    return Text.assemble((f"{100 * share:4.0f} %", "yellow" if share >= FULL else ""))
