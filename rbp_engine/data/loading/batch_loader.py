"""Load batches, in worker processes if there are any."""

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rbp_engine.errors import DataError, LoaderLost

#: Images on the device, [B, C, H, W] or [T, B, C, H, W] float32, and labels [B] int64; mixed ones are the probabilities
#: of classes, [B, C] float32.
Batch = tuple[Tensor, Tensor]

# Signals of a scheduler or torchrun that ask the rank to save and end.
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class BatchLoader:
    """Loads the items of a data set that a plan lists; an item is a whole batch, or a string with an error.

    `workers` processes load them, or this process if 0. They live for one plan, or for all plans once `start` or
    `start_together` has been called.
    """

    def __init__(self, dataset: Dataset[Any], workers: int, device: torch.device) -> None:
        self.dataset = dataset
        self.workers = workers
        self.device = device
        self._started: _Started | None = None
        self._place = 0

    def start(self) -> None:
        """Fork the workers now, see `start_together`."""
        start_together([self])

    def stop(self) -> None:
        """End the workers. Otherwise they end within seconds after this process."""
        self._started = None

    def load(self, plan: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
        """The items of a plan, in order. Raises DataError with the message of a faulty one."""
        if self._started is None:
            batches = _with_workers(_loader(self.dataset, plan, self.workers, self.device))
        else:
            batches = self._started.load(self._place, plan)
        try:
            while True:
                try:
                    batch = next(batches)
                except StopIteration:
                    return
                except (ConnectionError, EOFError) as error:
                    raise LoaderLost("a process that reads images was gone before its batch was fetched") from error
                # An exception from a worker process would arrive wrapped in the worker's traceback.
                if isinstance(batch, str):
                    raise DataError(batch)
                yield tuple(batch)
        finally:
            # The workers end with this iterator. The traceback of an error would keep it alive, and if the garbage
            # collector deletes it later, torch waits ten seconds for each worker.
            del batches


def start_together(loaders: Sequence[BatchLoader]) -> None:
    """Fork the workers of loaders now, before this process has other threads; all share them, and load in turn.

    Later, a thread of torch.distributed may hold a lock during the fork, for which the worker would wait for ever.
    """
    waiting = [loader for loader in loaders if loader.workers and loader._started is None]
    if not waiting:
        return
    started = _Started([loader.dataset for loader in waiting], waiting[0].workers, waiting[0].device)
    for place, loader in enumerate(waiting):
        loader._started, loader._place = started, place


class _Started:
    """Workers for the plans of several data sets, one plan after the other."""

    def __init__(self, datasets: Sequence[Dataset[Any]], workers: int, device: torch.device) -> None:
        self._plan = _Plan()
        self._loader = _loader(_Together(datasets), self._plan, workers, device)
        self._loads = 0
        _with_workers(self._loader)

    def load(self, place: int, plan: Iterable[Any]) -> Iterator[Any]:
        """The items of a plan of the data set at a place."""
        self._loads += 1
        mine = self._loads
        self._plan.keys = ((place, key) for key in plan)
        for batch in _with_workers(self._loader):
            yield batch
            if self._loads != mine:
                raise RuntimeError("another plan has begun, which has taken the workers from this one")


class _Together(Dataset[Any]):
    """The items of several data sets, by the place of the set and the key of the item in it."""

    def __init__(self, datasets: Sequence[Dataset[Any]]) -> None:
        self.datasets = datasets

    def __getitem__(self, key: tuple[int, Any]) -> Any:
        place, inside = key
        return self.datasets[place][inside]


def _loader(dataset: Dataset[Any], plan: Iterable[Any], workers: int, device: torch.device) -> DataLoader[Any]:
    return _Loader(
        dataset,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
        persistent_workers=isinstance(plan, _Plan),
        # Without its own generator, starting an epoch would draw from torch's global one.
        generator=torch.Generator(),
    )


class _Loader(DataLoader[Any]):
    def check_worker_number_rationality(self) -> None:
        """Say nothing: a run says once if there are too many (`workers.too_many`), torch would for each loader."""


class _Plan:
    """The current plan of persistent workers."""

    def __init__(self) -> None:
        self.keys: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys)


def _with_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the loader's processes with PREEMPTING blocked: a signal could kill them before `_start_worker` runs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PREEMPTING)
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(number: int) -> None:
    # torchrun signals the process group of a rank, a scheduler every process of a job: if that killed the workers, the
    # rank could not save its last checkpoint. The rank ends the workers itself, and they end when it dies.
    os.setpgid(0, 0)
    for number_of_signal in PREEMPTING:
        signal.signal(number_of_signal, signal.SIG_IGN)
    torch.set_num_threads(1)
