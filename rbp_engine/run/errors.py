"""What goes wrong with runs, in words for the person who asked."""

from rbp_engine.errors import UserError


class RunError(UserError):
    """Something about a run cannot be done; the message names the run, why, and what to do."""


class NothingToStart(RunError):
    """A run is not started because it is complete, or because somebody else has started or queued it."""


class NoSuchRun(RunError):
    """What was asked for by name is not there."""
