"""The resources of a run (how many processes, on how many nodes, on which devices), and how it gets them."""

from dataclasses import dataclass

from rbp_engine.codec import Count, Positive
from rbp_engine.printable import NO_TEXT, Line


@dataclass(frozen=True)
class Resources:
    """`processes` per node, `nodes`, `rendezvous` "host:port" of the first node (several nodes only), and the `devices`
    of this host that the run may see: GPU indices in PCI order, or names of their slices (MIG); empty for all."""

    processes: Positive = 1
    nodes: Positive = 1
    rendezvous: Line = NO_TEXT
    devices: tuple[Count | Line, ...] = ()

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.processes * self.nodes


@dataclass(frozen=True)
class Dispatch:
    """How a run is started: from the queue, on the devices that `gpus` selects, or at once if that is None.

    It is restarted up to `retries` times.
    """

    gpus: Line | None = None
    retries: Count = 0
