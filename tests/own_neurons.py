"""The neurons of docs/own-neuron.md, and LIF written as one's own."""

import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from rbp_engine.spiking import OwnNeuron

PAGE = Path(__file__).parents[1] / "docs" / "own-neuron.md"


@cache
def documented() -> ModuleType:
    """The file `neurons.py` of the page, executed."""
    found = re.search(r"^`neurons\.py`:\n\n```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    module = sys.modules["documented_neurons"] = ModuleType("documented_neurons")
    exec(compile(found[1], str(PAGE), "exec"), module.__dict__)
    return module


class OwnLIF(OwnNeuron[Tensor]):
    """The equations of LIF (docs/methods.md), with its keywords."""

    def __init__(
        self,
        decay: float = 0.2,
        threshold: float = 1.0,
        reset: str = "soft",
        v_reset: float = 0.0,
        detach_reset: bool = True,
    ) -> None:
        super().__init__()
        self.decay, self.threshold, self.soft = decay, threshold, reset == "soft"
        self.v_reset, self.detach_reset, self.trace_decay = v_reset, detach_reset, decay

    def at_rest(self, zeros: Tensor) -> Tensor:
        return zeros + self.v_reset

    def charge(self, state: Tensor, current: Tensor) -> Tensor:
        if not self.v_reset:
            return self.decay * state + current
        return self.v_reset + self.decay * (state - self.v_reset) + current

    def fire(self, state: Tensor) -> Tensor:
        return state - self.threshold

    def reset_by(self, state: Tensor, spikes: Tensor) -> Tensor:
        spikes = spikes.detach() if self.detach_reset else spikes
        if self.soft:
            return state - self.threshold * spikes
        return torch.lerp(state, torch.full_like(state, self.v_reset), spikes)
