"""The error for operations that have no rule for spikes over time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from torch import nn

_NEURON: Final = "put a neuron there, neuron() or rbp_engine.spiking.LIF()"
PUT_OURS: Final = "rbp_engine.spiking.make_spiking(network) puts LIF in their place"
# What to do about the most common operations that have no rule.
_INDICES: Final = "the indices differ from step to step"
RECURRENT: Final = "recurrent layers have no rule; put convolutions, attention or neurons there"
_NO_RULE_HELPS: Final = (_INDICES, RECURRENT)
_LIBRARIES: Final = ("torch", "rbp_engine")
_ADVICE: Final = {
    **dict.fromkeys(("prelu", "rrelu"), _NEURON),
    "instance_norm": "nn.GroupNorm with a group for each channel is the same",
    **dict.fromkeys(("argmax", "argmin", "argsort", "sort"), _INDICES),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), RECURRENT),
}


class UnsupportedOperation(TypeError):
    """A `module` used an `operation` that has no rule; the message names both, and what to do.

    `line` is where in its code, such as "nets.py line 12", and "" where that is not known. `why` is what is wrong with
    its use, or the advice for this operation; "" if there is neither.
    """

    def __init__(self, operation: str, why: str = "") -> None:
        module, self.module, self.line = _running_module()
        self.operation, self.why = operation, why or _ADVICE.get(operation, "")
        from spikingjelly.activation_based.neuron import BaseNode  # takes long to import

        if isinstance(module, BaseNode):
            self.why = f"SpikingJelly's neurons are not trained here, {PUT_OURS}"
            super().__init__(f"{self.module}: {self.why}")
            return
        where, why = f" ({self.line})" if self.line else "", f": {self.why}" if self.why else ""
        more = "" if self.why in _NO_RULE_HELPS else ", and rbp_engine.spiking.register_rule gives one more its rule"
        super().__init__(
            f"{self.module}: '{operation}' has no rule for spikes over time{where}{why}. docs/own-network.md lists the "
            f"operations that can be used{more}."
        )


class UnsupportedAttribute(UnsupportedOperation, AttributeError):
    """The same for an attribute of tensors, so that `hasattr` and `getattr` with a default still work."""


def _running_module() -> tuple[nn.Module | None, str, str]:
    """The module whose forward is running, found on the stack, its path, and the line that it is at.

    Only an error pays for the search.
    """
    modules: list[nn.Module] = []
    line = found = ""
    frame = sys._getframe(2)
    while frame is not None:
        if not found and str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES:
            found = f"{Path(frame.f_code.co_filename).name} line {frame.f_lineno}"
        module = frame.f_locals.get("self")
        if isinstance(module, nn.Module):
            line = found  # what calls the network is no line of it
            modules.append(module)
        frame = frame.f_back  # type: ignore[assignment]
    if not modules:
        return None, "outside any module", ""
    innermost, outermost = modules[0], modules[-1]
    path = next((name for name, module in outermost.named_modules() if module is innermost), "")
    return innermost, f"{path or 'the network'} ({type(innermost).__name__})", line
