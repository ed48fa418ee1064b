"""The running statistics of a network, copied and put back with few launches."""

from collections.abc import Iterable

import torch
from torch import Tensor

#: All statistics of a type in one tensor, by type, so that joining them converts nothing.
Joined = dict[torch.dtype, Tensor]


class Statistics:
    """Some buffers of a network."""

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            self._buffers.setdefault(buffer.dtype, []).append(buffer)

    def joined(self) -> Joined:
        """A copy of their values."""
        return {kind: torch.cat([each.flatten() for each in buffers]) for kind, buffers in self._buffers.items()}

    def put(self, joined: Joined) -> None:
        """Set them to what `joined` returned."""
        for kind, buffers in self._buffers.items():
            parts = joined[kind].split([each.numel() for each in buffers])
            for buffer, part in zip(buffers, parts, strict=True):
                buffer.copy_(part.view_as(buffer))
