"""The queue as shown to users: the place of each run and what it waits for, and who has which device."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue.devices import Device, pool_of_this_machine
from rbp_engine.run.queue.entries import Entry, holders, read_queue
from rbp_engine.run.queue.observe import (
    DispatcherMemory,
    ProcessScan,
    busy_cards,
    is_paused,
    job_of,
    keys_of,
    others_on,
    world,
)
from rbp_engine.run.queue.schedule import Action, Start, Wait, Waits, decide
from rbp_engine.run.status.status import Verdict, judge


@dataclass(frozen=True)
class QueuedRun:
    """A run in the queue of this host.

    `position` numbers waiting runs from 1, and is 0 for a run that has started. `devices` are those that it has
    claimed. It `takes` this many. `behind` names the runs ahead of a waiting one that wait for the same devices, `held`
    the holder of each taken device of its pool. `paused`: the whole queue is. `starts`: it has what it needs.
    `restarted`: that is after a fault.
    """

    run: RunDirectory
    verdict: Verdict
    position: int
    devices: list[str]
    takes: int = 0
    behind: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    paused: bool = False
    starts: bool = False
    restarted: bool = False


@dataclass(frozen=True)
class DeviceUse:
    """A device and who has it: the id of this user's `run`, or `others` in words; both are empty if it is free."""

    key: str
    name: str
    run: str = ""
    others: str = ""

    @property
    def free(self) -> bool:
        return not (self.run or self.others)


def queued_runs() -> list[QueuedRun]:
    """Every run that is monitored or waits on this host, as the dispatcher would decide now: the waiting ones last, the
    first to start first."""
    known, damaged = read_queue()
    memory, scan = DispatcherMemory(), ProcessScan()
    busy = others_on(keys_of(known), _cards(_devices_of(known)), damaged, scan)
    actions = decide(world(known, [job_of(entry, memory, scan) for entry in known], busy))
    everything = is_paused()
    given = {key: Path(one.job.run).name for one in actions if isinstance(one, Start) for key in one.devices}
    taken = given | _ids_of_holders(known)
    found: list[QueuedRun] = []
    position = 0
    for entry, action in zip(known, actions, strict=True):
        verdict = judge(entry.run)
        waits = verdict.status == "queued"
        position += waits
        held = {str(one): taken.get(one.key) or busy.get(one.key, "") for one in entry.devices}
        claims_all = 0 < entry.takes == len(action.job.claimed)
        found.append(
            QueuedRun(
                entry.run,
                verdict,
                position if waits else 0,
                [str(device) for device in entry.devices if device.key in action.job.claimed],
                entry.takes,
                _behind(action) if waits else [],
                {device: holder for device, holder in held.items() if holder} if waits else {},
                waits and everything,
                waits and (isinstance(action, Start) or claims_all),
                entry.retried > 0,
            )
        )
    return sorted(found, key=lambda queued: queued.position)


def device_uses() -> list[DeviceUse]:
    """The devices of this machine, those that runs of the queue may get, and who has them.

    Cards are left out if the driver does not answer.
    """
    try:
        here = pool_of_this_machine("auto", "auto").devices
    except RunError:
        here = ()
    known, damaged = read_queue()
    devices = dict.fromkeys([*here, *_devices_of(known)])
    claimed = _ids_of_holders(known)
    busy = others_on({device.key for device in devices}, _cards(devices), damaged, ProcessScan())
    return [
        DeviceUse(one.key, str(one), claimed.get(one.key, ""), "" if one.key in claimed else busy.get(one.key, ""))
        for one in devices
    ]


def _devices_of(known: Iterable[Entry]) -> list[Device]:
    return [device for entry in known for device in entry.devices]


def _ids_of_holders(known: Iterable[Entry]) -> dict[str, str]:
    return {key: entry.run.id for key, entry in holders(known).items()}


def _behind(action: Action) -> list[str]:
    if not isinstance(action, Wait) or action.why is not Waits.DEVICES:
        return []
    return [Path(job.run).name for job in action.behind]


def _cards(devices: Iterable[Device]) -> dict[str, str]:
    """Cards on which other processes compute, if one is among the devices."""
    if all(device.name is None for device in devices):
        return {}
    try:
        return busy_cards()
    except RunError:
        return {}
