"""The queue as shown to users: the position of each run, and what it waits for."""

from dataclasses import dataclass, field

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue import claims
from rbp_engine.run.queue.entries import entries
from rbp_engine.run.queue.gpus import read_cards
from rbp_engine.run.status.status import Verdict, judge


@dataclass(frozen=True)
class QueuedRun:
    """A run in the queue of this host.

    `position` numbers waiting runs from 1, and is 0 for a run that has started. `devices` are those that it has
    claimed. It `takes` this many of the `pool` devices that it may use. `behind` names the runs ahead of a waiting one,
    `held` the holder of each taken device of its pool.
    """

    run: RunDirectory
    verdict: Verdict
    position: int
    devices: list[str]
    takes: int = 0
    pool: int = 0
    behind: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)


def queued_runs() -> list[QueuedRun]:
    """Every run that is waiting or monitored on this host, in queue order."""
    known = entries()
    cards = any(device.name is not None for entry in known for device in entry.devices)
    busy = _busy_cards() if cards else {}
    found: list[QueuedRun] = []
    first: dict[str, str] = {}
    position = 0
    for entry in known:
        verdict, claimed = judge(entry.run), claims.claimed_by(entry.run)
        devices = [str(device) for device in entry.devices if device.key in claimed]
        if verdict.status != "queued":
            found.append(QueuedRun(entry.run, verdict, 0, devices, entry.takes, len(entry.devices)))
            continue
        position += 1
        behind = sorted({first[device.key] for device in entry.devices if device.key in first})
        holders = {str(device): claims.holder(device.key) or busy.get(device.key, "") for device in entry.devices}
        held = {device: holder for device, holder in holders.items() if holder}
        found.append(QueuedRun(entry.run, verdict, position, devices, entry.takes, len(entry.devices), behind, held))
        for device in entry.devices:
            first.setdefault(device.key, entry.run.id)
    return found


def _busy_cards() -> dict[str, str]:
    """Cards on which other processes compute."""
    try:
        return {card.uuid: "somebody else" for card in read_cards() if not card.is_free}
    except RunError:
        return {}
