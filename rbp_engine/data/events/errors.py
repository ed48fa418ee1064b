"""The error of this package."""

from rbp_engine.errors import DataError


class EventDataError(DataError):
    """Event data cannot be used. The message names the file or folder, what is wrong with it, and the remedy."""
