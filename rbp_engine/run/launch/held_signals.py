"""Hold a scheduler's signals back from a worker until it handles them: in its first moments they would kill it.

A process inherits the mask of the thread that starts it, and what was sent meanwhile arrives when it unblocks them.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

FROM_SCHEDULERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def signals_held() -> Iterator[None]:
    """Block the signals in what is started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_SCHEDULERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Let the signals through; this process handles them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_SCHEDULERS)
