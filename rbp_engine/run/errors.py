"""Errors about runs, with messages for the user."""

import contextlib
from collections.abc import Iterator

from rbp_engine.errors import UserError


class RunError(UserError):
    """Something about a run cannot be done; the message names the run, why, and what to do."""


class Taken(RunError):
    """Somebody else was first: the id is another run's, or what has the run has still to end or to begin."""


class NothingToStart(Taken):
    """A run is not started because it is complete, or has already been started or queued."""


class NoSuchRun(RunError):
    """No run fits the given name."""


@contextlib.contextmanager
def cannot(what: str) -> Iterator[None]:
    """Raise RunError, with what cannot be done, where the system refuses it."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot {what}: {error.strerror}") from error
