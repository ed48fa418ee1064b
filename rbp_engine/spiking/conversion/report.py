"""What `make_spiking` did with a network: the neurons it put in, and what it left as it was."""

from collections.abc import Iterable
from dataclasses import dataclass

_SHOWN = 3  # paths of one kind in a line


@dataclass(frozen=True)
class NetworkPart:
    """A part of a network: `kind` is its class or function, `path` its module, `note` what to know about it."""

    kind: str
    note: str
    path: str


@dataclass(frozen=True)
class SpikingReport:
    """`replaced`: activations and neurons that are now neurons. `kept`: what no spiking network has, and stays."""

    replaced: tuple[NetworkPart, ...]
    kept: tuple[NetworkPart, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} neurons in the place of:" if self.replaced else "no activation found"]
        lines += _lines(self.replaced)
        if self.kept:
            lines += ["stays as it is:", *_lines(self.kept)]
        return "\n".join(lines)


def _lines(parts: Iterable[NetworkPart]) -> list[str]:
    places: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        places.setdefault((part.kind, part.note), []).append(part.path or "the network")
    lines = []
    for (kind, note), paths in places.items():
        more = f", … and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"  {len(paths)} × {kind}: {', '.join(paths[:_SHOWN])}{more}{f' ({note})' if note else ''}")
    return lines
