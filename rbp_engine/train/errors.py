"""Exceptions that end training. Without torch, so that code that explains errors can use them without importing it."""


class NonFiniteLoss(Exception):
    """The loss, a gradient or a weight has become NaN or infinite; the message names the step."""


class NonFiniteImages(NonFiniteLoss):
    """The images contained NaN or infinity; the message names the step and its batch."""


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says which and why."""
