"""One thread that reads the machine while somebody looks."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_reader import MachineReader, MachineReading

EVERY_S = 2.0


@dataclass(frozen=True)
class MachineSight:
    """The machine, and the hosts of the runs that were live, by id, empty for this one."""

    machine: MachineReading
    hosts: Mapping[str, str] = field(default_factory=dict)


class MachineWatch:
    """`sight` is what was seen last, `fault` what went wrong in the thread."""

    def __init__(self, runs: Path) -> None:
        self.sight: MachineSight | None = None
        self.fault = ""
        self._runs = runs
        self._records: tuple[RunRecord, ...] | None = None
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended = True
        self._wake.set()

    def look_at(self, records: tuple[RunRecord, ...] | None) -> None:
        """Read what the machine has, and where these runs are; None: nobody looks."""
        begins = self._records is None and records is not None
        self._records = records
        if begins:
            self._wake.set()

    def _run(self) -> None:
        reader = MachineReader(self._runs)
        while not self._ended:
            if (records := self._records) is not None:
                try:
                    self.sight, self.fault = MachineSight(reader.read(), hosts_of(records)), ""
                except Exception as error:  # a thread that has died would leave the screen as it is, in silence
                    self.fault = f"{type(error).__name__}: {error}"
            self._wake.wait(None if records is None else EVERY_S)
            self._wake.clear()


def hosts_of(records: Iterable[RunRecord]) -> dict[str, str]:
    """The hosts of the live runs, by id; empty for this one."""
    live = (record.run for record in records if record.verdict.live)
    started = {run.id: attempt.process for run in live if (attempt := last_attempt(run)) and attempt.process.host}
    return {run_id: "" if process.is_here else process.host for run_id, process in started.items()}
