"""Count the operations and saved bytes of a training step, which are the same on every machine."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


def saved_bytes(step: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """The peak number of bytes saved for the backward pass, without weights."""
    saved = _Saved(parameters)
    with torch.autograd.graph.saved_tensors_hooks(saved.keep, lambda kept: kept.tensor):
        step()
    return saved.peak


def weighted_operations(step: Callable[[], object]) -> int:
    """Floating point operations of convolutions and linear layers, forward and backward."""
    with force_eager(), FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def force_eager() -> AbstractContextManager[Any]:
    """Run what was compiled as torch's operations, since nothing that counts them can see into compiled code."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


class _Kept:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Saved:
    """Counts the storages that graphs keep alive, from when they are saved until the last graph releases them."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.live = self.peak = 0
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in parameters}
        self._holders: Counter[int] = Counter()

    def keep(self, tensor: Tensor) -> Any:
        kept = _Kept(tensor)
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place not in self._weights:
            if not self._holders[place]:
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
            self._holders[place] += 1
            weakref.finalize(kept, self._release, place, storage.nbytes())
        return kept

    def _release(self, place: int, count: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            self.live -= count
