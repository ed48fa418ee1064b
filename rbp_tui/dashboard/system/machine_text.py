"""The machine in a few lines: its cores, memory and disk, and each GPU with its memory and load."""

from collections.abc import Sequence

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.queue.observe import DeviceUse
from rbp_tui.dashboard.reading.cards import CardReading
from rbp_tui.dashboard.reading.machine_reader import MachineReading
from rbp_tui.text import format as fmt
from rbp_tui.text.run_text import device_holders, free_devices

LABEL = 8
GIB = 2.0**30
FULL = 0.9  # from this share on, a value is highlighted


def machine_lines(machine: MachineReading, devices: Sequence[DeviceUse] | None) -> list[Text]:
    """A line for each kind of device; `devices` are those that the queue can give, None before they are known."""
    busy, by_runs = sum(machine.cores), sum(use.cores for use in machine.uses)
    cores = Text(f"{busy:.1f} of {len(machine.cores)} busy" + (f", {by_runs:.1f} by runs" if machine.uses else ""))
    lines = [_line("cores", cores), _line("memory", _of(machine.memory_used, machine.memory_total))]
    if machine.disk_free is not None:
        lines.append(_line("disk", Text(f"{fmt.size(machine.disk_free)} free")))
    if machine.silent_s:
        why = Text(f"the NVIDIA driver has not answered for {fmt.duration(machine.silent_s)}", "red")
        lines.append(_line("GPU", why.append(" · rbp doctor looks closer", "dim")))
    elif not machine.cards:
        lines.append(_line("GPU", Text(f"none: {one_line(machine.no_cards)} · rbp doctor looks closer", "dim")))
    lines += [_line(f"gpu{card.index}", _card(card)) for card in machine.cards]
    if devices is not None:
        taken = ", ".join([free_devices(devices), *map(one_line, device_holders(devices))])
        lines.append(_line("queue", Text(taken)))
    return lines


def _card(card: CardReading) -> Text:
    if card.problem:
        return Text(one_line(card.problem), "red")
    name = one_line(card.name).removeprefix("NVIDIA ")
    busy = "" if card.utilisation is None else f"  {100 * card.utilisation:.0f} % busy"
    return _of(card.used, card.total).append(busy).append(f"  {name}", "dim")


def _of(used: int, total: int) -> Text:
    return Text(f"{used / GIB:.1f} of {total / GIB:.1f} GiB", "yellow" if total and used >= FULL * total else "")


def _line(label: str, words: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}}", "dim"), words)
