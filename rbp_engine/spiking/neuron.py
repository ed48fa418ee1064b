"""The LIF neuron as a module: for every carrier, and for plain tensors step by step."""

from typing import Any, Literal

import torch
from spikingjelly.activation_based import base
from torch import Tensor

from rbp_engine.spiking.carrier import Carrier
from rbp_engine.spiking.conversion.spikingjelly_map import in_our_words
from rbp_engine.spiking.kernels import lif
from rbp_engine.spiking.lif_parameters import Kernel, LIFParameters
from rbp_engine.spiking.surrogate import create_surrogate


class LIF(base.MemoryModule):  # type: ignore[misc]  # SpikingJelly ships no types
    """Leaky integrate-and-fire neuron with the paper's defaults (section 3.1; equations in `spiking/kernels/lif.py`).

    Given a `Carrier` it runs all timesteps from rest and keeps no state. Given a plain tensor it is an ordinary
    SpikingJelly neuron: step mode "s" takes [B, …] and keeps the membrane in `v` until `reset()`, "m" takes
    [T, B, …]. So SpikingJelly's own networks take it: `sew_resnet18(spiking_neuron=LIF, cnf="ADD")`.

    Arguments:
        decay: λ in [0, 1]; 0 forgets at once, 1 is the integrate-and-fire neuron.
        threshold: V_th > 0.
        reset: "soft" subtracts the threshold, "hard" returns to `v_reset`.
        v_reset: resting potential of the hard reset.
        detach_reset: whether the gradient ignores the reset.
        surrogate, surrogate_args: the slope of the spike, by SpikingJelly's name in snake case.
        kernel: "eager", or "compiled" by torch.compile where that works; for carriers.
        theirs: `tau`, `decay_input`, `v_threshold` and `surrogate_function` of SpikingJelly's `LIFNode`, with its
            defaults, in place of decay, threshold, reset and surrogate. It is then the same neuron, in our λ and V_th
            (`conversion/spikingjelly_map.py`). `step_mode` alone leaves ours; `backend` and `store_v_seq` do nothing.
    """

    def __init__(
        self,
        decay: float = 0.2,
        threshold: float = 1.0,
        reset: Literal["soft", "hard"] = "soft",
        v_reset: float = 0.0,
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        surrogate_args: dict[str, float] | None = None,
        kernel: Kernel = "eager",
        **theirs: Any,
    ) -> None:
        if theirs:
            ours: dict[str, Any] = {"decay": decay, "threshold": threshold, "reset": reset, "v_reset": v_reset}
            ours |= {"detach_reset": detach_reset, "surrogate": surrogate, "surrogate_args": surrogate_args}
            LIF.__init__(self, **in_our_words(theirs, ours), kernel=kernel)
            self.step_mode = theirs.get("step_mode", "s")
            return
        super().__init__()
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay is a factor between 0 and 1, got {decay}")
        if not threshold > 0.0:
            raise ValueError(f"threshold must be above 0, got {threshold}")
        if reset not in ("soft", "hard"):
            raise ValueError(f"reset is 'soft' or 'hard', got {reset!r}")
        if reset == "soft" and v_reset != 0.0:
            raise ValueError(f"v_reset = {v_reset} belongs to the hard reset; the soft reset subtracts the threshold")
        if kernel not in ("eager", "compiled"):
            raise ValueError(f"kernel is 'eager' or 'compiled', got {kernel!r}")
        self.decay = float(decay)
        self.threshold = float(threshold)
        self.v_reset = float(v_reset) if reset == "hard" else None
        self.detach_reset = detach_reset
        self.surrogate = create_surrogate(surrogate, surrogate_args)
        self.kernel = kernel
        self.v: Tensor | float
        self.register_memory("v", self.v_reset or 0.0)

    @property
    def lif_parameters(self) -> LIFParameters:
        """The parameters as the loops over time take them, read from the attributes of the module."""
        return LIFParameters(self.decay, self.threshold, self.v_reset, self.detach_reset, self.surrogate, self.kernel)

    def forward(self, current: Any) -> Any:
        """Spikes for input currents: a carrier for a carrier of the same kind, a tensor for a tensor."""
        if isinstance(current, Carrier):
            current.check_checkpointing()
            current.check_unchanged(type(self).__name__)
            return current.fire(self.lif_parameters)
        return super().forward(current)

    def single_step_forward(self, current: Tensor) -> Tensor:
        """Spikes [B, …] of one timestep; `v` keeps the membrane for the next.

        Raises ValueError if the input's shape is not that of the membrane which the previous input left.
        """
        if not isinstance(self.v, Tensor):
            self.v = lif.at_rest(current, self.v)
        if self.v.shape != current.shape:
            raise ValueError(
                f"the membrane has the shape {list(self.v.shape)} of the input before, this one {list(current.shape)}: "
                "before another batch call reset() of the neuron, or spikingjelly's functional.reset_net(model); "
                "step and predict of a method do so"
            )
        spikes, self.v = lif.step(self.v, current, self.lif_parameters)
        return spikes

    def multi_step_forward(self, currents: Tensor) -> Tensor:
        """Spikes [T, B, …] of T timesteps, starting from the membrane in `v`."""
        return torch.stack([self.single_step_forward(current) for current in currents.unbind(0)])

    def extra_repr(self) -> str:
        reset = "soft" if self.v_reset is None else f"hard to {self.v_reset}"
        return f"decay={self.decay}, threshold={self.threshold}, reset={reset}, detach_reset={self.detach_reset}"
