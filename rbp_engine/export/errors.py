"""The error of an export that NIR cannot express."""

from rbp_engine.errors import UserError


class ExportError(UserError):
    """The network has no file of NIR; the message names the layer, why, and what would help."""


def no_node(path: str, why: str) -> ExportError:
    """The error for the module at `path` in the network."""
    return ExportError(f"layer {path}: {why}" if path else f"the network: {why}")
