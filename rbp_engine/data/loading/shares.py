"""How an epoch is cut into batches, and each batch into the shares of the processes that train together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of a batch that one process works on: samples `first` to `end` of `total`.

    Augmentation draws numbers for the whole batch and uses those of the share, so that an image looks the same for
    any number of processes.
    """

    first: int
    end: int
    total: int

    @classmethod
    def whole(cls, total: int) -> "Share":
        """The whole batch."""
        return cls(0, total, total)

    @classmethod
    def part(cls, total: int, rank: int, world_size: int) -> "Share":
        """The contiguous part of process `rank`; parts differ by one sample at most."""
        return cls(total * rank // world_size, total * (rank + 1) // world_size, total)

    @property
    def places(self) -> slice:
        """The positions of the samples in the batch."""
        return slice(self.first, self.end)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a run cuts epochs into batches, and batches into the shares of its processes: this is `rank` of `world_size`.

    `batch_size` counts samples over all processes. Order and augmentation are drawn from `seed`. `drop_last` drops the
    last batch of a training epoch if it is smaller.
    """

    batch_size: int
    seed: int = 0
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1


def parts_of(total: int, processes: int, accumulate: int) -> int:
    """Into how many parts every process cuts its share of a batch of `total` samples, each with one at least."""
    return min(accumulate, total // processes)


def evaluation_plan(count: int, cut: Cut) -> list[slice]:
    """The samples that a process evaluates, as slices for each batch: a contiguous share of all, in order.

    A process may have no samples.
    """
    share, size = Share.part(count, cut.rank, cut.world_size), max(1, cut.batch_size // cut.world_size)
    return [slice(first, min(first + size, share.end)) for first in range(share.first, share.end, size)]
