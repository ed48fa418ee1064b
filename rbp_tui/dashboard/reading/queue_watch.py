"""One thread that looks at the queue of this host while runs wait or somebody looks at the devices.

The driver of the cards is asked, and may take its time: nothing else waits for it.
"""

from collections.abc import Mapping
from dataclasses import replace

from rich.text import Text

from rbp_engine.run.queue.observe import device_uses, is_paused, queued_runs
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.watcher import Watcher
from rbp_tui.text.run_text import queue_text, where_queued

LOOK_EVERY_S = 1.0


class QueueWatch(Watcher):
    """`places` says of each waiting run, by its folder, which it is in the queue and what it waits for.

    `about` says whether the queue is paused, and who has the devices of this machine; None until somebody has looked
    at them (`look_closely`).
    """

    def __init__(self) -> None:
        super().__init__("queue")
        self.places: Mapping[str, str] = {}
        self.about: Text | None = None
        self._waiting = self._closely = False

    def look_closely(self, closely: bool) -> None:
        """Whether somebody looks at the devices."""
        if closely and not self._closely:
            self._wake.set()
        self._closely = closely

    def with_places(self, records: tuple[RunRecord, ...]) -> tuple[RunRecord, ...]:
        """The records, those of waiting runs with their place in the queue as their reason."""
        waiting = any(record.verdict.status == "queued" for record in records)
        if waiting and not self._waiting:
            self._wake.set()
        self._waiting = waiting
        return tuple(map(self._with_place, records)) if waiting else records

    def _with_place(self, record: RunRecord) -> RunRecord:
        place = self.places.get(str(record.run.path.resolve())) if record.verdict.status == "queued" else None
        return record if place is None else replace(record, verdict=replace(record.verdict, reason=place))

    def _look(self) -> float:
        try:
            if self._waiting:
                self.places = _places()
            if self._closely:
                self.about = queue_text(device_uses(), paused=is_paused())
        except Exception:  # a file of the queue that cannot be read; what waits is still listed, with its own words
            self.places, self.about = {}, None
        return LOOK_EVERY_S


def _places() -> dict[str, str]:
    waiting = [queued for queued in queued_runs() if queued.position]
    return {str(queued.run.path): f"{queued.position} in the queue · {where_queued(queued)}" for queued in waiting}
