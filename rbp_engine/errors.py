"""Errors that the user can mend, by who mends them."""

from typing import ClassVar


class UserError(Exception):
    """Something that was asked for cannot be done; the message says what, where, and what to do.

    `exit_code` is that of a command that ends with it: 2 for usage and presets, 3 for missing data.
    """

    exit_code: ClassVar[int] = 2


class LoaderLost(RuntimeError):
    """A process that reads images is gone: killed, most likely."""


class SettingsError(ValueError):
    """Settings that do not fit the data or the machine; the message names them, and what would fit."""


class OwnCodeError(ValueError):
    """The user's own network or data set is not what it has to be; the message names it and what is wrong."""


class DataError(ValueError):
    """Data that cannot be used as they lie there; the message names the file, what is wrong, and the remedy."""
