"""System: GPUs where there are any, CPU and memory, and which run uses what."""

import contextlib
import os
from dataclasses import dataclass
from typing import Any, ClassVar

import psutil
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Footer, Static

from rbp_engine.run.processes import processes_of
from rbp_tui import format as fmt
from rbp_tui.dashboard.screens.base import DashboardScreen, TopBar
from rbp_tui.run_text import short_id

REFRESH_S = 2.0


@dataclass(frozen=True)
class Card:
    """One GPU as NVML sees it: memory in bytes, utilisation as a fraction, power in watts."""

    name: str
    used: int
    total: int
    utilisation: float
    power: float | None
    pids: frozenset[int]


@dataclass(frozen=True)
class Machine:
    """The machine at a moment; `runs` has for each live run its processes' memory, cores in use and pids."""

    cards: tuple[Card, ...]
    cpu: float
    load: tuple[float, float, float]
    memory_used: int
    memory_total: int
    disk_free: int
    runs: tuple[tuple[str, int, float, frozenset[int]], ...]


class SystemScreen(DashboardScreen):
    """Read every two seconds while it is shown."""

    NAME = "system"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self) -> None:
        super().__init__()
        self._processes: dict[int, psutil.Process] = {}

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield Static("reading…", id="machine")
        yield Footer()

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        if self.is_current:
            self._read()

    @work(thread=True, exclusive=True, group="machine")
    def _read(self) -> None:
        machine = self._machine()
        self.app.call_from_thread(self._show, machine)

    def _machine(self) -> Machine:
        memory = psutil.virtual_memory()
        runs = self.dashboard.runs if self.dashboard.runs.is_dir() else self.dashboard.runs.parent
        return Machine(
            cards=tuple(read_cards()),
            cpu=psutil.cpu_percent(interval=0.2) / 100.0,
            load=os.getloadavg(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_free=psutil.disk_usage(str(runs)).free if runs.is_dir() else 0,
            runs=tuple(self._usage(record.run.id) for record in self.dashboard.live),
        )

    def _usage(self, run_id: str) -> tuple[str, int, float, frozenset[int]]:
        record = self.dashboard.record_of(run_id)
        memory, cores, pids = 0, 0.0, set()
        for process in processes_of(record.run) if record else []:
            # psutil counts processor time between two calls on the same object.
            kept = self._processes.setdefault(process.pid, process)
            with contextlib.suppress(psutil.Error):
                memory += kept.memory_info().rss
                cores += kept.cpu_percent() / 100.0
                pids.add(process.pid)
        return run_id, memory, cores, frozenset(pids)

    def _show(self, machine: Machine) -> None:
        bars = Table.grid(padding=(0, 2))
        for card in machine.cards:
            power = f"{card.power:.0f} W" if card.power is not None else ""
            bars.add_row(card.name, _bar(card.used / card.total), f"{fmt.size(card.used)} / {fmt.size(card.total)}")
            bars.add_row("", _bar(card.utilisation), f"{100 * card.utilisation:.0f} % busy {power}")
        if not machine.cards:
            bars.add_row("GPU", "none", "")
        cores = os.cpu_count() or 1
        bars.add_row(
            "CPU", _bar(machine.cpu), f"{100 * machine.cpu:.0f} % of {cores} cores, load {machine.load[0]:.1f}"
        )
        used, total = machine.memory_used, machine.memory_total
        bars.add_row("memory", _bar(used / total), f"{fmt.size(used)} / {fmt.size(total)}")
        bars.add_row("disk", "", f"{fmt.size(machine.disk_free)} free where runs are kept")
        table = Table(box=None, header_style="dim", pad_edge=False)
        for heading in ("live run", "id", "memory", "cores", "GPU"):
            table.add_column(heading, justify="right" if heading in ("memory", "cores") else "left")
        for run_id, memory, used_cores, pids in machine.runs:
            record = self.dashboard.record_of(run_id)
            if record is not None:
                on = ", ".join(card.name for card in machine.cards if card.pids & pids) or "–"
                name = record.summary.name or record.summary.preset
                table.add_row(name, short_id(record.summary), fmt.size(memory), f"{used_cores:.1f}", on)
        nothing = "\nno run is live" if not machine.runs else ""
        self.query_one("#machine", Static).update(Group(bars, "", nothing or table))


def read_cards() -> list[Card]:
    """The GPUs of this machine; none where NVML is missing."""
    with contextlib.suppress(Exception):  # no driver, no NVML, or a card that does not answer: nothing to show
        import pynvml

        pynvml.nvmlInit()
        return [_card(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    return []


def _card(nvml: Any, index: int) -> Card:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    power = None
    with contextlib.suppress(Exception):  # not every card reports it
        power = nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0
    return Card(
        name=f"gpu{index} {nvml.nvmlDeviceGetName(handle)}",
        used=memory.used,
        total=memory.total,
        utilisation=nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100.0,
        power=power,
        pids=frozenset(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
    )


def _bar(fraction: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=min(1.0, max(0.0, fraction)), width=24)
