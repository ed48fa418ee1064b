"""How many batches the batch norms of a network have seen."""

from collections import Counter, defaultdict
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils.hooks import RemovableHandle


class BatchCounts:
    """Batch norm modules count the batches of a step at its end, together, and not one launch for each timestep.

    One whose momentum follows from that number counts by itself.
    """

    def __init__(self, model: nn.Module, batches: int = 1) -> None:
        """Each pass of a module counts as so many `batches`."""
        self._model = model
        self._batches = batches
        self._counters: dict[nn.Module, Tensor] = {}
        self._seen: Counter[nn.Module] = Counter()
        self._hooks: list[RemovableHandle] = []
        self._own: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        for norm in self._norms():
            # The first pass of a lazy one makes its counter.
            if norm.training and norm.momentum is not None and not isinstance(norm, LazyModuleMixin):
                self._hooks.append(norm.register_forward_pre_hook(lambda module, _: self._seen.update([module])))
                self._take_counter(norm)
        return self

    def stop(self) -> None:
        """What comes from now on is no batch: nothing counts it."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for norm in self._norms():
            self._take_counter(norm)
        # Norms that are not torch's need theirs: what they count is taken back.
        own = [buffer for name, buffer in self._model.named_buffers() if name.endswith("num_batches_tracked")]
        self._own = [(buffer, buffer.clone()) for buffer in own]

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self._model.modules() if isinstance(module, _BatchNorm)]

    def _take_counter(self, norm: _BatchNorm) -> None:
        if norm.num_batches_tracked is not None:
            self._counters[norm] = norm.num_batches_tracked
            norm.num_batches_tracked = None

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for counter, before in self._own:
            counter.copy_(before)
        by_count: defaultdict[int, list[Tensor]] = defaultdict(list)
        for norm, counter in self._counters.items():
            norm.num_batches_tracked = counter
            by_count[self._seen[norm]].append(counter)
        for count, counters in by_count.items():
            if count:
                torch._foreach_add_(counters, count * self._batches)
