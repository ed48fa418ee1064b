"""Errors that the user can mend: one message, no traceback."""

from typing import ClassVar


class UserError(Exception):
    """Something that was asked for cannot be done; the message says what, where, and what to do.

    `exit_code` is that of a command that ends with it: 2 for usage and presets, 3 for missing data.
    """

    exit_code: ClassVar[int] = 2
