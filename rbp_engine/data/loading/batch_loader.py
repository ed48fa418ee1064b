"""Load batches, in worker processes if there are any."""

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rbp_engine.errors import DataError, LoaderLost

# Signals of a scheduler or torchrun that ask the rank to save and end.
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class BatchLoader:
    """Loads the items of a data set that a plan lists; an item is a whole batch, or a string with an error.

    `workers` processes load them, or this process if 0. They live for one plan, or for all plans once `start` has been
    called.
    """

    def __init__(self, dataset: Dataset[Any], workers: int, device: torch.device) -> None:
        self.dataset = dataset
        self.workers = workers
        self.device = device
        self._plan = _Plan()
        self._started: DataLoader[Any] | None = None

    def start(self) -> None:
        """Fork the workers now, before this process has other threads.

        Later, a thread of torch.distributed may hold a lock during the fork, for which the worker would wait for ever.
        """
        if self.workers and self._started is None:
            self._started = self._loader(self._plan)
            _with_workers(self._started)

    def stop(self) -> None:
        """End the workers. Otherwise they end within seconds after this process."""
        self._started = None

    def load(self, plan: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
        """The items of a plan, in order. Raises DataError with the message of a faulty one."""
        loader = self._loader(plan) if self._started is None else self._started
        self._plan.keys = plan
        batches = _with_workers(loader)
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

    def _loader(self, plan: Iterable[Any]) -> DataLoader[Any]:
        return _Loader(
            self.dataset,
            batch_size=None,
            sampler=plan,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_start_worker,
            persistent_workers=plan is self._plan,
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
