"""Load batches, in worker processes if there are any."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rbp_engine.data.loading.prefetch import on_device
from rbp_engine.errors import DataError, LoaderLost

#: Images on the device, [B, C, H, W] or [T, B, C, H, W] float32, and labels [B] int64; mixed ones are the probabilities
#: of classes, [B, C] float32.
Batch = tuple[Tensor, Tensor]

# Signals of a scheduler or torchrun that ask the rank to save and end.
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


#: Reads what a plan lists, in its order, onto the device.
Read = Callable[[Sequence[Any]], Iterator[tuple[Tensor, ...]]]


class BatchLoader:
    """Loads what plans list onto a device, each item a whole batch.

    `workers` processes load them, or this process if 0. They live for one plan, or, once `start` has been called, until
    `stop`, and load one plan at a time.
    """

    def __init__(self, workers: int, device: torch.device) -> None:
        self.workers = workers
        self.device = device
        self._together = _Together()
        self._started: DataLoader[Any] | None = None
        # That of the workers that have been started: their sampler, and the same as it was asked for.
        self._plan: list[Any] = []
        self._asked: Sequence[Any] = ()

    def reading(self, read: Callable[[Any], tuple[Tensor, ...]]) -> Read:
        """What reads by one more function from an item of a plan; workers that have been started do not know it.

        For a ValueError, IndexError or OSError of that function it raises DataError with the same message.
        """
        place = len(self._together.readers)
        self._together.readers.append(read)
        return lambda plan: on_device(self._loaded([(place, key) for key in plan]), self.device)

    def start(self) -> None:
        """Fork the workers now, before this process has other threads.

        Later, a thread of torch.distributed may hold a lock during the fork, for which the worker would wait for ever.
        """
        if self.workers and self._started is None:
            self._started = _loader(self._together, self._plan, self.workers, self.device, persistent=True)
            _with_workers(self._started)

    def stop(self) -> None:
        """End the workers. Otherwise they end within seconds after this process."""
        self._started = None

    def _loaded(self, keys: Sequence[Any]) -> Iterator[tuple[Tensor, ...]]:
        """The items of a plan, in order. Raises DataError with the message of a faulty one."""
        loader = self._started
        if loader is None:
            loader = _loader(self._together, keys, self.workers, self.device)
        self._asked = keys
        self._plan[:] = keys
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
                if loader is self._started and self._asked is not keys:
                    raise RuntimeError("another plan has begun, which has taken the workers from this one")
        finally:
            # The workers end with this iterator. The traceback of an error would keep it alive, and if the garbage
            # collector deletes it later, torch waits ten seconds for each worker.
            del batches


class _Together(Dataset[Any]):
    """What several functions read, by the place of the function and the item of a plan; of an error its message."""

    def __init__(self) -> None:
        self.readers: list[Callable[[Any], tuple[Tensor, ...]]] = []

    def __getitem__(self, key: tuple[int, Any]) -> tuple[Tensor, ...] | str:
        place, item = key
        try:
            return self.readers[place](item)
        except (OSError, ValueError, IndexError) as error:
            return str(error)


def _loader(
    dataset: Dataset[Any], plan: Sequence[Any], workers: int, device: torch.device, *, persistent: bool = False
) -> DataLoader[Any]:
    return _Loader(
        dataset,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker,
        persistent_workers=persistent,
        # Without its own generator, starting an epoch would draw from torch's global one.
        generator=torch.Generator(),
    )


class _Loader(DataLoader[Any]):
    def check_worker_number_rationality(self) -> None:
        """Say nothing: a run says once if there are too many (`workers.too_many`), torch would for each loader."""


def _with_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the loader's processes with PREEMPTING blocked: a signal could kill them before `_start_worker` runs.

    Torch's handler of SIGCHLD is taken back: it raises an error wherever this process is when one of them dies, also
    where that leaves a lock of a queue taken, for which the run then waits for ever. Without it, torch looks every 5 s.
    """
    before, of_children = signal.pthread_sigmask(signal.SIG_BLOCK, PREEMPTING), signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        if threading.current_thread() is threading.main_thread():  # torch installs it in no other, nor could this
            signal.signal(signal.SIGCHLD, of_children or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(number: int) -> None:
    # torchrun signals the process group of a rank, a scheduler every process of a job: if that killed the workers, the
    # rank could not save its last checkpoint. The rank ends the workers itself, and they end when it dies.
    os.setpgid(0, 0)
    for number_of_signal in PREEMPTING:
        signal.signal(number_of_signal, signal.SIG_IGN)
    torch.set_num_threads(1)
