"""The queue as people want to know it: who is where, and what each waits for."""

from dataclasses import dataclass

from rbp_engine.run import claims
from rbp_engine.run.cards import read_cards
from rbp_engine.run.entries import Entry, entries
from rbp_engine.run.errors import RunError
from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import Verdict, judge


@dataclass(frozen=True)
class Place:
    """A run that the dispatcher of this host knows of. `position` counts those that wait from 1, and is 0 for one that
    has started; `devices` are those that it has; `why` is what it waits for."""

    run: RunDirectory
    verdict: Verdict
    position: int
    devices: list[str]
    why: str = ""


def places() -> list[Place]:
    """Every run that waits or is watched over on this host, in the order of the queue."""
    known = entries()
    cards = any(device.name is not None for entry in known for device in entry.devices)
    busy = _busy_cards() if cards else {}
    found: list[Place] = []
    ahead: dict[str, str] = {}
    for entry in known:
        verdict = judge(entry.run)
        devices = [str(device) for device in entry.devices if device.key in claims.claimed_by(entry.run)]
        if verdict.status != "queued":
            found.append(Place(entry.run, verdict, 0, devices))
            continue
        position = 1 + sum(place.position > 0 for place in found)
        why = verdict.reason if devices else _why(entry, ahead, busy)
        found.append(Place(entry.run, verdict, position, devices, why))
        for device in entry.devices:
            ahead.setdefault(device.key, entry.run.id)
    return found


def _why(entry: Entry, ahead: dict[str, str], busy: dict[str, str]) -> str:
    before = {ahead[device.key] for device in entry.devices if device.key in ahead}
    if before:
        return f"behind {', '.join(sorted(before))}"
    taken = {str(device): claims.holder(device.key) or busy.get(device.key) for device in entry.devices}
    held = ", ".join(f"{device} has {holder}" for device, holder in taken.items() if holder)
    if len(taken) - sum(map(bool, taken.values())) >= entry.takes:
        return "starts in a moment"
    return f"needs {entry.takes} of {len(entry.devices)}: {held}"


def _busy_cards() -> dict[str, str]:
    """Cards on which somebody else computes."""
    try:
        return {card.uuid: "somebody else" for card in read_cards() if not card.is_free}
    except RunError:
        return {}
