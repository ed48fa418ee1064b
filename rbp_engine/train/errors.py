"""Exceptions that end training. Without torch, so that code that explains errors can use them without importing it."""

from rbp_engine.errors import UserError


class NonFiniteLoss(Exception):
    """The loss, a gradient or a weight has become NaN or infinite; the message names the step."""


class Superseded(Exception):
    """The run has been started again since: it is another process's now, and this one may write nothing more to it."""


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message says which and why."""
