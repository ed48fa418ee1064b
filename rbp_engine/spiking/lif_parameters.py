"""The parameters of a neuron layer, as carriers and the loops over time take them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.surrogate import Surrogate, slope_function

Kernel = Literal["eager", "compiled"]
KernelChoice = Literal["eager", "compiled", "auto"]


@dataclass(frozen=True)
class LIFParameters:
    """The parameters of a layer of leaky integrate-and-fire neurons.

    `decay` is λ and `threshold` V_th: numbers, or tensors with their graph where they are learnt, [] for the layer or
    by channel. `v_reset` is the resting potential of the hard reset, and None for the soft reset. With `detach_reset`
    the gradient ignores the reset. `kernel` chooses the loops: "eager" those of `spiking/kernels/lif.py`, "compiled"
    those of `spiking/kernels/unrolled.py`.
    """

    decay: float | Tensor
    threshold: float | Tensor
    v_reset: float | None
    detach_reset: bool
    surrogate: Surrogate
    kernel: Kernel = "eager"

    @property
    def learns(self) -> tuple[bool, bool]:
        """Whether λ and V_th are learnt."""
        return isinstance(self.decay, Tensor), isinstance(self.threshold, Tensor)

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        """Those of λ and V_th that are learnt, in this order."""
        return tuple(value for value in (self.decay, self.threshold) if isinstance(value, Tensor))

    @property
    def requires_grad(self) -> bool:
        return any(value.requires_grad for value in self.learnt)

    def neuron(self, dtype: torch.dtype) -> "Neuron":
        """The parameters without a graph, for membranes of that type."""
        decay, threshold = (x.detach() if isinstance(x, Tensor) else x for x in (self.decay, self.threshold))
        slope = slope_function(self.surrogate)
        return Neuron(decay, threshold, self.v_reset, self.detach_reset, self.learns, *slope, dtype)

    def over(self, ndim: int) -> "LIFParameters":
        """The same for inputs [B, C, …] of so many dimensions: what is learnt by channel, [C], becomes [C, 1, …]."""
        if not any(value.ndim for value in self.learnt):
            return self
        return replace(self, decay=_over(self.decay, ndim), threshold=_over(self.threshold, ndim))


def _over(value: float | Tensor, ndim: int) -> float | Tensor:
    return value.view(-1, *[1] * (ndim - 2)) if isinstance(value, Tensor) and value.ndim else value


class Neuron(NamedTuple):
    """`LIFParameters` as functions without a graph take them: λ and V_th have none, and the surrogate is its slope.

    Where tensors are flat, a number may be given as [C] (`kernels/layout.py`). `learns` says whether λ and V_th are
    learnt. `dtype` is the type of membranes and currents. It is a tuple because torch.compile then guards only the
    values that a loop uses.
    """

    decay: Tensor | float
    threshold: Tensor | float
    v_reset: float | None
    detach_reset: bool
    learns: tuple[bool, bool]
    surrogate: Callable[..., Tensor]
    arguments: dict[str, float]
    dtype: torch.dtype

    def slope(self, distance: Tensor) -> Tensor:
        """σ'(distance), `distance` = membrane − threshold."""
        return self.times_slope(torch.ones_like(distance), distance)

    def times_slope(self, grad: Tensor, distance: Tensor) -> Tensor:
        """grad ⊙ σ'(distance)."""
        return self.surrogate(grad, distance, **self.arguments)
