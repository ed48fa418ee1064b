"""The parameters of a neuron layer, as carriers and the loops over time take them."""

from dataclasses import dataclass
from typing import Literal

from rbp_engine.spiking.surrogate import Surrogate

Kernel = Literal["eager", "compiled"]


@dataclass(frozen=True)
class LIFParameters:
    """The parameters of a layer of leaky integrate-and-fire neurons.

    `decay` is λ and `threshold` V_th. `v_reset` is the resting potential of the hard reset, and None for the soft
    reset. With `detach_reset` the gradient ignores the reset. `kernel` chooses the loops: "eager" those of
    `spiking/kernels/lif.py`, "compiled" those of `spiking/kernels/compiled.py`.
    """

    decay: float
    threshold: float
    v_reset: float | None
    detach_reset: bool
    surrogate: Surrogate
    kernel: Kernel = "eager"
