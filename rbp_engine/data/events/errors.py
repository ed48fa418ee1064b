"""The one kind of error of this package."""


class EventDataError(ValueError):
    """Event data that cannot be used. The message names the file or folder, what is wrong with it, and the remedy."""
