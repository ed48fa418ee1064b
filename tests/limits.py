"""Work in a process of its own that may take little time and memory, or is killed before its end."""

import gc
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterable
from itertools import accumulate
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_S

MEMORY, SECONDS = 2**29, 10


def within_limits(work: Callable[[Any], Any], given: Iterable[Any]) -> list[Any]:
    """What `work` returns for each, with half a gigabyte more than this process has, and some seconds for each.

    The process is a fork, which need not import everything again. One that takes more is an EOFError.
    """
    context, given = multiprocessing.get_context("fork"), list(given)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, given, sender), daemon=True)
    process.start()
    sender.close()
    try:
        found = []
        for _ in given:
            assert receiver.poll(PATIENCE_S), "it takes too long"
            found.append(receiver.recv())
        return found
    finally:
        process.kill()
        process.join()


def tensor_memory(work: Callable[[], object]) -> tuple[int, int]:
    """The most bytes that torch's tensors take at once while `work` runs, and those that are left at its end."""
    from torch.profiler import ProfilerActivity, profile

    gc.collect()  # garbage of other tests that is freed while `work` runs would be subtracted
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    changes = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = list(accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())))
    return max(live), live[-1]


def _work(work: Callable[[Any], Any], given: list[Any], sender: "Connection[Any, Any]") -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, -1))
    for one in given:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, -1))
        sender.send(work(one))
    os._exit(0)


def survives(act: Callable[[], object], calls: int, *names: str) -> bool:
    """Whether something is done in a process that is killed after so many calls of these functions of `os`."""
    pid = os.fork()
    if pid == 0:
        left = iter(range(calls))

        def die_at_last(how: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return how(*args, **kwargs)

            return call

        for name in names:
            setattr(os, name, die_at_last(getattr(os, name)))
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
