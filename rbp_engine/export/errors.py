"""The error of an export that NIR cannot express."""

from rbp_engine.errors import UserError


class ExportError(UserError):
    """The network has no file of NIR; the message names the layer, why, and what would help."""
