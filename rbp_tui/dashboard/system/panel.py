"""Readings of the machine as text: a line per GPU, the processor by core, memory, disk; and rows of runs."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_reader import CardReading, MachineReading, Use
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import SIGNS, STYLES, short_id

COLUMNS = ("", "run", "id", "procs", "memory", "cores", "GPU")
BAR = 10
NAME, RUN = 16, 22
CORES = 64  # per line
GIB = 2.0**30
FULL = 0.9  # from this share on, a bar is highlighted

Cells = tuple[Text, ...]


def machine_text(machine: MachineReading, names: Mapping[int, str], runs: str) -> Text:
    """Everything but the runs. `names` maps pids to names of runs, `runs` is the runs directory."""
    lines = [_card_line(card, names) for card in machine.cards]
    if not machine.cards:
        lines.append(_line("GPU", Text(f"none: {machine.no_cards} (rbp doctor looks closer)", style="dim")))
    busy = sum(machine.cores) / len(machine.cores) if machine.cores else 0.0
    load = " ".join(f"{one:.1f}" for one in machine.load)
    lines.append(_line("CPU", _bar(busy), f" {100 * busy:3.0f} % of {len(machine.cores)} cores, load {load}"))
    blocks = "".join(fmt.BLOCKS[min(7, int(8 * core))] for core in machine.cores)
    lines += [_line("", (blocks[at : at + CORES], "cyan")) for at in range(0, len(blocks), CORES)]
    used, total = machine.memory_used, machine.memory_total
    lines.append(_line("memory", _bar(used / total if total else 0.0), f" {fmt.size(used)} of {fmt.size(total)}"))
    if machine.disk_total and machine.disk_free is not None:
        full = 1.0 - machine.disk_free / machine.disk_total
        free = f" {fmt.size(machine.disk_free)} free of {fmt.size(machine.disk_total)} "
        lines.append(_line("disk", _bar(full), free, (one_line(runs), "dim")))
    return Text("\n").join(lines)


def use_rows(machine: MachineReading, records: Sequence[RunRecord], hosts: Mapping[str, str]) -> dict[str, Cells]:
    """A row for each live run, for each lost one with remaining processes, and for runs of other directories.

    `hosts` maps the ids of the runs that were working when the machine was read to their hosts, empty for this one.
    The keys of the rows are the runs' folders.
    """
    uses = {use.run.path.resolve(): use for use in machine.uses}
    rows = {}
    for record in records:
        use = uses.pop(record.run.path.resolve(), None)
        if record.verdict.live or use is not None:
            rows[str(record.run.path)] = _row(record, use, machine.cards, hosts.get(record.run.id))
    for folder, use in uses.items():
        named = (Text(" "), Text(_cut(folder.name), style="dim"), Text("elsewhere", style="dim"))
        rows[str(folder)] = (*named, *_numbers(use, machine.cards))
    return rows


def _row(record: RunRecord, use: Use | None, cards: Sequence[CardReading], host: str | None) -> Cells:
    summary, status = record.summary, record.verdict.status
    sign = Text(SIGNS.get(status, " "), style=STYLES.get(status, ""))
    if use is not None:
        numbers = _numbers(use, cards)
    else:
        waits = status if status in ("queued", "starting") else "reading…"
        where = Text(f"on host {one_line(host)}" if host else waits, style="dim")
        if host == "":
            where = Text("process gone", style="red")
        numbers = (*(Text("–", style="dim", justify="right"),) * 3, where)
    return (sign, Text(_cut(summary.called)), Text(short_id(summary)), *numbers)


def _numbers(use: Use, cards: Sequence[CardReading]) -> Cells:
    on = []
    for card in cards:
        shares = [size for pid, size in card.processes if pid in use.pids]
        if shares:
            on.append(f"gpu{card.index} {fmt.size(sum(shares))}" if sum(shares) else f"gpu{card.index}")
    return (
        Text(str(len(use.pids)), justify="right"),
        Text(fmt.size(use.memory), justify="right"),
        Text(f"{use.cores:.1f}", justify="right"),
        Text(", ".join(on) or "–"),
    )


def _cut(name: str) -> str:
    """The end of a name that is too long for its column: ids differ at their ends."""
    name = one_line(name)
    return name if len(name) <= RUN else f"…{name[1 - RUN :]}"


def _card_line(card: CardReading, names: Mapping[int, str]) -> Text:
    label = f"gpu{card.index}"
    if card.problem:
        return _line(label, Text(one_line(card.problem), style="red"))
    name = one_line(card.name).removeprefix("NVIDIA ")[:NAME].ljust(NAME)
    parts: list[Text | str | tuple[str, str]] = [f"{name} ", _bar(card.used / card.total if card.total else 0.0)]
    parts.append(f" {card.used / GIB:4.1f} of {card.total / GIB:.1f} GiB")
    if card.utilisation is not None:
        parts.append(f"  {100 * card.utilisation:3.0f} % busy")
    users = list(dict.fromkeys(names[pid] for pid, _ in card.processes if pid in names))
    if others := sum(pid not in names for pid, _ in card.processes):
        users.append(f"{others} other{'s' if others > 1 else ''}")
    parts.append((f"  {' '.join(users) or 'nobody'}", "cyan" if users else "dim"))
    if card.power is not None:
        parts.append((f"  {card.power:.0f} W", "dim"))
    if card.temperature is not None:
        parts.append((f"  {card.temperature:.0f} °C", "dim"))
    return _line(label, *parts)


def _line(label: str, *parts: Text | str | tuple[str, str]) -> Text:
    return Text.assemble((f"{label:<8}", "dim"), *parts)


def _bar(share: float) -> Text:
    filled = round(BAR * min(1.0, max(0.0, share)))
    style = "yellow" if share >= FULL else "green"
    return Text.assemble(("━" * filled, style), ("━" * (BAR - filled), "dim"))
