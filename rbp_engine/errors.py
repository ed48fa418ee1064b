"""Errors that the user can fix, by what has to be fixed."""

from typing import ClassVar

# Exit code of a command that has followed a run which a scheduler's signal has ended, after a save: start it again.
PREEMPTED_CODE = 5


class UserError(Exception):
    """A request cannot be fulfilled; the message says what failed, where, and what to do.

    `exit_code` is that of a command that ends with this error: 2 for usage and presets, 3 for missing or
    damaged data.
    """

    exit_code: ClassVar[int] = 2


class LoaderLost(RuntimeError):
    """A process that reads images has died, most likely killed."""


class SettingsError(ValueError):
    """Settings do not fit the data or the machine; the message names them, and values that would fit."""


class OwnCodeError(ValueError):
    """The user's own network, neuron, data set or metrics are invalid; the message names it and what is wrong."""


class DataError(UserError, ValueError):
    """Data cannot be used as they are; the message names the file, what is wrong, and the remedy."""

    exit_code = 3


class NeuronError(OwnCodeError):
    """A neuron of a user's own cannot be trained as it is; the message says why."""
