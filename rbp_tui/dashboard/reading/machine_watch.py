"""One thread that reads the machine as long as the dashboard lives, in more detail while somebody looks."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_history import MachineHistory
from rbp_tui.dashboard.reading.machine_reader import MachineReader, MachineReading
from rbp_tui.dashboard.reading.run_sizes import RunSizer, RunSizes
from rbp_tui.dashboard.reading.stays import Stay, StayReader

SHOWN_EVERY_S, HIDDEN_EVERY_S = 2.0, 5.0
#: The length of the past in which stays are looked for.
PAST_S = 24 * 3600.0
TURN_S = 0.05


@dataclass(frozen=True)
class MachineSight:
    """The machine at the moment `t`, in seconds since the epoch; `stays` and `sizes` are None until they are looked at.

    `hosts` are those of the runs that were live, by id, empty for this one. `behind` says that there are more stays
    than have been read.
    """

    t: float
    machine: MachineReading
    hosts: Mapping[str, str] = field(default_factory=dict)
    stays: tuple[Stay, ...] | None = None
    behind: bool = False
    sizes: RunSizes | None = None


class MachineWatch:
    """Keeps the history of the machine. Who used what, and the sizes of runs, are only looked at while shown.

    `sight` is what was seen last, `fault` what went wrong in the thread.
    """

    def __init__(self, runs: Path) -> None:
        self.history = MachineHistory()
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

    def look_closely(self, records: tuple[RunRecord, ...] | None) -> None:
        """Look at what these runs use, and used; None: nobody looks."""
        begins = self._records is None and records is not None
        self._records = records
        if begins:
            self._wake.set()

    def _run(self) -> None:
        reader, stays, sizer = MachineReader(self._runs), StayReader(), RunSizer(self._runs)
        while not self._ended:
            records, now = self._records, time.time()
            try:
                machine = reader.read(uses=records is not None)
                self.history.add(machine, now)
                if records is None:
                    self.sight = MachineSight(now, machine)
                else:
                    found, more = stays.read(records, now - PAST_S, now, TURN_S)
                    sizes = sizer.read(records, TURN_S)
                    self.sight = MachineSight(now, machine, hosts_of(records), tuple(found), more, sizes)
                self.fault = ""
            except Exception as error:  # a thread that has died would leave the screen as it is, in silence
                self.fault = f"{type(error).__name__}: {error}"
            self._wake.wait(HIDDEN_EVERY_S if records is None else SHOWN_EVERY_S)
            self._wake.clear()


def hosts_of(records: Iterable[RunRecord]) -> dict[str, str]:
    """The hosts of the live runs, by id; empty for this one."""
    live = (record.run for record in records if record.verdict.live)
    started = {run.id: attempt.process for run in live if (attempt := last_attempt(run)) and attempt.process.host}
    return {run_id: "" if process.is_here else process.host for run_id, process in started.items()}
