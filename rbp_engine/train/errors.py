"""What ends training, by type. Needs no torch, so that whoever explains an error knows the types without loading it."""


class NonFiniteLoss(Exception):
    """The loss, a gradient or a weight has become NaN or infinite; the message names the step."""


class NonFiniteImages(NonFiniteLoss):
    """NaN or infinity came in with the images; the message names the step and its batch."""


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says which and why."""
