"""What `make_spiking` did with a network: the neurons it put in, and what it left as it was."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

_SHOWN = 3  # paths of one kind in a line


@dataclass(frozen=True, order=True)
class Part:
    """A part of a network: `kind` is its class or function, `path` its module, `note` what to know about it."""

    kind: str
    note: str
    path: str


@dataclass(frozen=True)
class SpikingReport:
    """`replaced`: activations and neurons that are now neurons. `kept`: what no spiking network has, and stays."""

    replaced: tuple[Part, ...]
    kept: tuple[Part, ...]

    def __str__(self) -> str:
        lines = [f"{len(self.replaced)} neurons in the place of:" if self.replaced else "no activation found"]
        lines += _lines(self.replaced)
        if self.kept:
            lines += ["stays as it is:", *_lines(self.kept)]
        return "\n".join(lines)


def _lines(parts: Iterable[Part]) -> list[str]:
    lines = []
    for (kind, note), group in groupby(sorted(parts), key=lambda part: (part.kind, part.note)):
        paths = [part.path or "the network" for part in group]
        more = f", … and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"  {len(paths)} × {kind}: {', '.join(paths[:_SHOWN])}{more}{f' ({note})' if note else ''}")
    return lines
