"""What a run takes of a machine: how many processes, on how many nodes, on which devices."""

from dataclasses import asdict, dataclass
from typing import Any

from rbp_engine.run.layout import RunDirectory, read_json


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


def read_resources(run: RunDirectory) -> Resources:
    """The resources that run.json names; one process where it names none that can be understood."""
    named = read_json(run.run_json).get("resources")
    if not isinstance(named, dict):
        return Resources()
    counts = {key: named[key] for key in ("processes", "nodes") if type(named.get(key)) is int and named[key] > 0}
    rendezvous, devices = named.get("rendezvous"), named.get("devices")
    return Resources(
        **counts,
        rendezvous=rendezvous if isinstance(rendezvous, str) else "",
        devices=tuple(one for one in devices if type(one) in (int, str)) if isinstance(devices, list) else (),
    )
