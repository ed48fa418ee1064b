"""Who had which device lately: a line for each run below its device, with a bar over the time of day."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.cells import set_cell_size
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.stays import Stay
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import shortened
from rbp_tui.text.run_text import SIGNS, STYLES, short_id

#: The spans to choose from: the shortest that has all stays is shown.
SPANS_S = tuple(hours * 3600.0 for hours in (1, 3, 6, 12, 24))
NAME, WIDE_NAME, ID, HOURS, CLOCKS = 14, 24, 4, 6, 12
WIDE = 90  # from this width on, names are longer and the times are told
BAR, BUSY, LEFT = "█", "━", "┊"


def timeline_lines(
    stays: Sequence[Stay], records: Mapping[str, RunRecord], now: float, width: int, left_at: float = 0.0
) -> list[Text]:
    """The lines for a panel of that width; `records` are the runs by id, `left_at` is when the user last left.

    The first line tells the span, the second the time of day.
    """
    span = span_of(stays, now)
    wide = width >= WIDE
    name = WIDE_NAME if wide else NAME
    bar = max(8, width - 2 - name - 1 - ID - 2 - HOURS - (CLOCKS + 2 if wide else 0))
    at = _Axis(now - span, now, bar)
    head = Text.assemble(("who used what  ", "bold"), (f"last {span / 3600:.0f} h", "dim"))
    if now - span < left_at < now:
        head.append(f" · {LEFT} you left at {_clock(left_at)}", "dim")
    before = " " * (2 + name + 1 + ID + 1)
    lines = [head, Text(before + at.labels(), "dim")]
    for device, here in sorted(_by_device(stays).items()):
        busy = _united((stay.start, stay.end) for run in here.values() for stay in run)
        hours = sum(min(end, now) - max(start, now - span) for start, end in busy)
        label = one_line(f"{device}  {len(here)} run{'' if len(here) == 1 else 's'}")
        line = Text(set_cell_size(label, len(before)), "bold")
        lines.append(line.append_text(at.bar(busy, BUSY, "", left_at)).append(f"{fmt.duration(hours):>{HOURS + 1}}"))
        for run_id, own in sorted(here.items(), key=lambda run: -max(stay.end for stay in run[1])):
            lines.append(_run_line(own, records.get(run_id), at, name, left_at, wide=wide))
    return lines


def span_of(stays: Iterable[Stay], now: float) -> float:
    """The shortest span that has all stays."""
    first = min((stay.start for stay in stays), default=now)
    return next((span for span in SPANS_S if first >= now - span), SPANS_S[-1])


class _Axis:
    """A bar of `width` cells over the time from `start` to `end`."""

    def __init__(self, start: float, end: float, width: int) -> None:
        self.start, self.end, self.width = start, end, width

    def cell(self, t: float) -> int:
        share = (t - self.start) / (self.end - self.start)
        return int(self.width * min(1.0, max(0.0, share)))

    def labels(self) -> str:
        """The time of day at the start, in between, and now."""
        row = [" "] * self.width
        for share in (0.0, 0.25, 0.5, 0.75) if self.width >= CLOCKS * 3 else (0.0,):
            first = int(share * self.width)
            label = _clock(self.start + share * (self.end - self.start))[: self.width]
            row[first : first + len(label)] = label
        row[-3:] = "now"
        return "".join(row)

    def bar(self, times: Iterable[tuple[float, float]], sign: str, style: str, left_at: float) -> Text:
        """The times as bars, each at least one cell, and a sign where the user left."""
        row = ["·"] * self.width
        styles = ["dim"] * self.width
        if self.start < left_at < self.end:
            row[self.cell(left_at)] = LEFT
        for start, end in times:
            first = min(self.cell(start), self.width - 1)
            for number in range(first, max(first + 1, self.cell(end))):
                row[number], styles[number] = sign, style
        text = Text()
        for key, cells in groupby(zip(styles, row, strict=True), lambda cell: cell[0]):
            text.append("".join(sign for _, sign in cells), key)
        return text


def _run_line(
    stays: Sequence[Stay], record: RunRecord | None, at: _Axis, name: int, left_at: float, *, wide: bool
) -> Text:
    status = record.verdict.shown_status if record is not None else ""
    called = one_line(record.summary.called) if record is not None else stays[0].run_id
    short = short_id(record.summary) if record is not None else stays[0].run_id[-ID:]
    line = Text.assemble(
        (f"{SIGNS.get(status, ' ')} ", STYLES.get(status, "")),
        f"{set_cell_size(shortened(called, name), name)} ",
        (f"{set_cell_size(shortened(one_line(short), ID), ID)} ", "dim"),
    )
    times = [(stay.start, stay.end) for stay in stays]
    line.append_text(at.bar(times, BAR, STYLES.get(status, ""), left_at))
    line.append(f"{fmt.duration(sum(end - start for start, end in _united(times))):>{HOURS + 1}}")
    if wide:
        line.append(f"  {_clock(min(stay.start for stay in stays))}–{_clock(max(stay.end for stay in stays))}", "dim")
    return line


def _by_device(stays: Iterable[Stay]) -> dict[str, dict[str, list[Stay]]]:
    """The stays on each device, by the ids of their runs."""
    found: dict[str, dict[str, list[Stay]]] = {}
    for stay in stays:
        for device in stay.devices:
            found.setdefault(device, {}).setdefault(stay.run_id, []).append(stay)
    return found


def _united(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The times without overlaps, in order."""
    united: list[tuple[float, float]] = []
    for start, end in sorted(times):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united


def _clock(t: float) -> str:
    return time.strftime("%H:%M", time.localtime(t))
