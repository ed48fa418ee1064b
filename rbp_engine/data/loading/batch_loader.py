"""Load batch after batch, in worker processes if there are any."""

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rbp_engine.errors import DataError, LoaderLost

# A scheduler's or torchrun's, for the rank to save and end.
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class BatchLoader:
    """Loads the items of a data set that a plan names; an item is a whole batch, or a string that says what is wrong.

    `workers` processes load them, 0 for none but this one. They live for one plan, or for all plans once `start` has
    been called.
    """

    def __init__(self, dataset: Dataset[Any], workers: int, device: torch.device) -> None:
        self.dataset = dataset
        self.workers = workers
        self.device = device
        self._plan = _Plan()
        self._started: DataLoader[Any] | None = None

    def start(self) -> None:
        """Fork the workers now, while this process is young.

        Later, a thread of torch.distributed may hold a lock at that moment, and the worker would wait for it for ever.
        """
        if self.workers and self._started is None:
            self._started = self._loader(self._plan)
            _with_workers(self._started)

    def stop(self) -> None:
        """End them. By themselves they would, within seconds of the end of this process."""
        self._started = None

    def load(self, plan: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
        """The items of a plan in its order. Raises DataError with what is wrong with one."""
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
                # An exception that crosses from a worker process would arrive wrapped in the worker's traceback.
                if isinstance(batch, str):
                    raise DataError(batch)
                yield tuple(batch)
        finally:
            # Its workers end with it. The traceback of an error would keep it, and they do not end by themselves when
            # the collector finds it later: torch then waits ten seconds for each.
            del batches

    def _loader(self, plan: Iterable[Any]) -> DataLoader[Any]:
        return DataLoader(
            self.dataset,
            batch_size=None,
            sampler=plan,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_start_worker,
            persistent_workers=plan is self._plan,
            # Without one, starting an epoch would draw from torch's global generator.
            generator=torch.Generator(),
        )


class _Plan:
    """The plan of workers that have one after the other."""

    def __init__(self) -> None:
        self.keys: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys)


def _with_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader with its processes started, which never see these signals: one would end them before _start_worker."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PREEMPTING)
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(number: int) -> None:
    # torchrun signals the process group of a rank, a scheduler every process of a job: workers that died of it would
    # take the last checkpoint with them. The rank ends them itself, and they end when it is gone.
    os.setpgid(0, 0)
    for number_of_signal in PREEMPTING:
        signal.signal(number_of_signal, signal.SIG_IGN)
    torch.set_num_threads(1)
