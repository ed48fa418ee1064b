"""The resources of a run (how many processes, on how many nodes, on which devices), and how it gets them."""

from dataclasses import asdict, dataclass
from typing import Any

from rbp_engine.run.files.json_fields import printable


@dataclass(frozen=True)
class Resources:
    """`processes` per node, `nodes`, `rendezvous` "host:port" of the first node (several nodes only), and the `devices`
    of this host that the run may see: GPU indices in PCI order, or names of their slices (MIG); empty for all."""

    processes: int = 1
    nodes: int = 1
    rendezvous: str = ""
    devices: tuple[int | str, ...] = ()

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.processes * self.nodes

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def resources_in(described: dict[str, Any]) -> Resources:
    """The resources in an object of run.json; one process if it has none that are valid."""
    named = described.get("resources")
    if not isinstance(named, dict):
        return Resources()
    counts = {key: named[key] for key in ("processes", "nodes") if type(named.get(key)) is int and named[key] > 0}
    rendezvous, devices = named.get("rendezvous"), named.get("devices")
    return Resources(
        **counts,
        rendezvous=rendezvous if isinstance(rendezvous, str) and rendezvous.isprintable() else "",
        devices=tuple(printable(one) for one in devices if type(one) in (int, str))
        if isinstance(devices, list)
        else (),
    )


@dataclass(frozen=True)
class Dispatch:
    """How a run is started: from the queue, on the devices that `gpus` selects, or at once if that is None.

    It is restarted up to `retries` times. `device` is that of its preset, empty if unknown. `inexact` allows another
    number of processes than saved the checkpoint, `from_scratch` to start over if no checkpoint can be used. Runs of a
    higher `priority` start first.
    """

    gpus: str | None = None
    retries: int = 0
    device: str = ""
    inexact: bool = False
    from_scratch: bool = False
    priority: int = 0

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}
