"""The error for operations that have no rule for spikes over time."""

from __future__ import annotations

import sys

from torch import nn


class UnsupportedOperation(TypeError):
    """A `module` used an `operation` that has no rule; the message names both, and what to do."""

    def __init__(self, operation: str, why: str = "") -> None:
        self.module, self.operation, self.why = _module_path(), operation, why
        super().__init__(
            f"{self.module}: '{operation}' has no rule for spikes over time{f': {why}' if why else ''}. "
            "Build the network from the operations listed in rbp_engine/spiking/rules.py, or add a rule there."
        )


def _module_path() -> str:
    """Dotted path of the module whose forward is running, found on the stack; only an error pays for the search."""
    modules: list[nn.Module] = []
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module) and not any(module is known for known in modules):
            modules.append(module)
        frame = frame.f_back  # type: ignore[assignment]
    if not modules:
        return "outside any module"
    innermost, outermost = modules[0], modules[-1]
    path = next((name for name, module in outermost.named_modules() if module is innermost), "")
    return f"{path or 'the network'} ({type(innermost).__name__})"
