"""The processes that train one model together: how they find each other, agree on decisions and sum results.

`Ranks` is a single process, for which all of this is trivial. `ManyRanks` is one of several started by torchrun:
gradients go over NCCL between GPUs and over gloo between CPUs, agreements always over a separate gloo group, so that
they neither wait for a GPU nor delay gradients.
"""

import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rbp_engine.spiking.synchronised_batch_norm import synchronise_batch_norm
from rbp_engine.train.ranks.process import RankProcess

V = TypeVar("V")

# How long a process waits for the others before it gives up. They may be saving, unpacking data or compiling; a process
# that has died is noticed at once, by its connection or the launcher. torch's defaults are 10 minutes on GPUs, 30
# elsewhere.
PATIENCE = timedelta(hours=2)


class Ranks:
    """A single process: rank 0 of 1."""

    rank = 0
    size = 1

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model to call in a training step; its backward pass averages gradients over ranks."""
        return model

    def synchronise_batch_norm(self, model: nn.Module) -> None:
        """Make batch norm compute its statistics over the batches of all ranks."""

    def largest(self, *values: int) -> list[int]:
        """The maximum of each value over ranks."""
        return [int(value) for value in self.gather(values).amax(0).tolist()]

    def agree(self, *values: int) -> list[int]:
        """`largest` for every step boundary, without a wait: several ranks get the result of the previous boundary.

        The current values are exchanged while the next step is computed.
        """
        return list(values)

    def gather(self, values: Sequence[float]) -> Tensor:
        """The values of all ranks, float64 [ranks, values] on the CPU."""
        return torch.tensor([values], dtype=torch.float64)

    def collect(self, value: V) -> list[V]:
        """The (small) objects of all ranks, in order."""
        return [value]

    def from_first(self, make: Callable[[], V]) -> V:
        """The (small) object that rank 0 makes, on all ranks."""
        made: Any = make() if self.rank == 0 else None
        first: V = self.collect(made)[0]
        return first

    def share_buffers(self, model: nn.Module) -> None:
        """Copy the running statistics of rank 0, which are the ones that checkpoints contain, to every rank."""

    def leave(self) -> None:
        """Shut the process groups down."""


class ManyRanks(Ranks):
    """One of several processes, which computes on `device`."""

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=device if on_gpu else None
        )
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()
        # Newer type hints of torch add a number, for a rank outside of the group. Every rank is in this one.
        self._cpu_group: Any = distributed.new_group(timeout=PATIENCE, backend="gloo")
        self._pending: tuple[Tensor, Any] | None = None

    def parallel(self, model: nn.Module) -> nn.Module:
        # Buffers are not broadcast in each step: training does not read them, see share_buffers.
        with warnings.catch_warnings():
            # Newer versions of torch rename an argument; older ones do not know the new name.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)

    def synchronise_batch_norm(self, model: nn.Module) -> None:
        synchronise_batch_norm(model, distributed.group.WORLD)

    def agree(self, *values: int) -> list[int]:
        maxima, before = torch.tensor(values, dtype=torch.int64), self._pending
        work = distributed.all_reduce(maxima, distributed.ReduceOp.MAX, self._cpu_group, async_op=True)
        self._pending = maxima, work
        return [0] * len(values) if before is None else self._wait_for(before)

    def _wait_for(self, pending: tuple[Tensor, Any]) -> list[int]:
        maxima, work = pending
        work.wait()
        return [int(value) for value in maxima.tolist()]

    def gather(self, values: Sequence[float]) -> Tensor:
        own = torch.tensor(values, dtype=torch.float64)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(gathered, own, self._cpu_group)
        return torch.stack(gathered)

    def collect(self, value: V) -> list[V]:
        collected: list[Any] = [None] * self.size
        distributed.all_gather_object(collected, value, self._cpu_group)
        return collected

    def share_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            distributed.broadcast(buffer, 0)

    def leave(self) -> None:
        if self._pending is not None:
            self._wait_for(self._pending)
        distributed.destroy_process_group()


def join(process: RankProcess, device: torch.device) -> Ranks:
    """Connect to the other processes of the run, if there are any; waits for them."""
    return Ranks() if process.world_size == 1 else ManyRanks(device)
