"""A layer's tensors as compiled loops take them: flat, so that one kernel serves layers and batches of all sizes.

A timestep is [F], flattened by `Layout`; numbers that differ between channels, [C], broadcast against it.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.autograd.batch_norm import Normalisation
from rbp_engine.spiking.kernels.neuron_input import Current, membrane_dtype
from rbp_engine.spiking.kernels.steps import Spikes, Static, Steps
from rbp_engine.spiking.lif_parameters import LIFParameters, Neuron


class FlatNorm(NamedTuple):
    """A `Normalisation`: mean, variance with its ε, or 1/√(var + ε) where it is known, γ and β; [C] each."""

    mean_C: Tensor
    variance_C: Tensor | None
    eps: float
    known_inverse_C: Tensor | None
    weight_C: Tensor | None
    bias_C: Tensor | None


class FlatTerm(NamedTuple):
    """A `Term`: its values, [T, F], T times [F], or [F] if static, and its batch norm."""

    values: Tensor | Sequence[Tensor]
    norm: FlatNorm | None
    static: bool


class FlatCurrent(NamedTuple):
    """A `Current`: its terms, the type of its values, and T."""

    terms: Sequence[FlatTerm]
    dtype: torch.dtype
    timesteps: int


class Layout:
    """Views of a layer's tensors with few dimensions, so that one compiled loop serves all layers and batches.

    A timestep, [F] for short, is [N, C] where channels come last in memory or nothing follows them, otherwise
    [B, C, S]; [N] where neither a batch norm nor a neuron's parameters tell channels apart.
    """

    def __init__(self, current: Current, parameters: LIFParameters) -> None:
        batch = current.batch
        self.shape, self.device = batch.shape, batch.device
        self.dtype = membrane_dtype(batch.dtype)
        by_channel = any(value.ndim for value in parameters.learnt)
        self.by_channel = by_channel or any(term.normalisation for term in current.terms)
        self.channels_last = batch.ndim == 4 and batch.is_contiguous(memory_format=torch.channels_last)
        self.channels_end = self.channels_last or batch.shape[2:].numel() == 1

    def inputs(self, current: Current) -> FlatCurrent:
        """The current, flat."""
        terms = [
            FlatTerm(self._flat_steps(term.steps), self._norm(term.normalisation), isinstance(term.steps, Static))
            for term in current.terms
        ]
        return FlatCurrent(terms, current.terms[0].steps.dtype, current.timesteps)

    def neuron(self, parameters: LIFParameters) -> Neuron:
        """The layer's neurons, with one number for all channels except where numbers are learnt by channel."""
        decay, threshold = self._number(parameters.decay), self._number(parameters.threshold)
        return parameters.neuron(self.dtype)._replace(decay=decay, threshold=threshold)

    def _norm(self, normalisation: Normalisation | None) -> FlatNorm | None:
        if normalisation is None:
            return None
        norm = normalisation.norm

        def flat(numbers: Tensor | None) -> Tensor | None:
            return numbers if numbers is None else self._channels(numbers.detach())

        return FlatNorm(
            self._channels(normalisation.mean),
            flat(normalisation.variance),
            norm.eps,
            flat(normalisation.known_inverse),
            flat(norm.weight),
            flat(norm.bias),
        )

    def _flat_steps(self, steps: Steps) -> Tensor | list[Tensor]:
        return [self.flat(x) for x in steps.bytes_TBX] if isinstance(steps, Spikes) else self.flat(steps.values())

    def flat(self, values: Tensor) -> Tensor:
        """[T, B, …] as [T, F], or [B, …] as [F]: a view, or a copy where its layout in memory is not the layer's."""
        lead = values.shape[: values.ndim - len(self.shape)]
        if self.channels_last:
            values = values.movedim(-3, -1)
        if not self.by_channel:
            return values.reshape(*lead, -1)
        if self.channels_end:
            return values.reshape(*lead, -1, self.shape[1])
        return values.reshape(*lead, *self.shape[:2], -1)

    def back(self, values: Tensor) -> Tensor:
        """[T, F] as [T, B, …], or [F] as [B, …]: a view."""
        lead = values.shape[: values.ndim - (1 if not self.by_channel else 2 if self.channels_end else 3)]
        if self.channels_last:
            batch, channels, height, width = self.shape
            return values.view(*lead, batch, height, width, channels).movedim(-1, -3)
        return values.view(*lead, *self.shape)

    def empty(self, number: int, batch: Tensor) -> tuple[Tensor, ...]:
        """So many uninitialised tensors [F] of the type of `batch`, in one block of memory.

        For what is freed together: on a CPU the gap that two tensors leave holds another tensor of that size, the gap
        of one does not, for want of the bytes that align it. 0.93 of the memory (ResNet-18, T = 8, B = 32).
        """
        return batch.new_empty(number, *self.flat(batch).shape).unbind(0)

    def empty_bytes(self, timesteps: int, batch: Tensor) -> Tensor:
        """Uninitialised bytes [T, F]."""
        return torch.empty(timesteps, *self.flat(batch).shape, dtype=torch.uint8, device=self.device)

    def for_each_channel(self, number: Tensor | float) -> Tensor | float:
        """The number as [C], where channels are told apart.

        inductor fuses loops over the same dimensions only. A loop in which nothing differs between channels would have
        fewer dimensions, and the membrane or the slope of every timestep would go through memory.
        """
        if not self.by_channel:
            return self._number(number)
        if isinstance(number, Tensor):
            return self._channels(number.detach().flatten().expand(self.shape[1]))
        return self._channels(_constant(number, self.shape[1], self.dtype, self.device))

    def _number(self, number: Tensor | float) -> Tensor | float:
        """As it is, or [C, 1, …] as [C]; without its graph."""
        if not isinstance(number, Tensor):
            return number
        return self._channels(number.detach().flatten()) if number.ndim else number.detach()

    def _channels(self, numbers: Tensor) -> Tensor:
        return numbers if self.channels_end else numbers.unsqueeze(-1)


@functools.lru_cache(maxsize=1024)
def _constant(number: float, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """So many times the number; made once, and never changed."""
    with torch.inference_mode(False):  # elsewhere it would compile other kernels
        return torch.full((count,), number, dtype=dtype, device=device)


@functools.lru_cache(maxsize=1024)
def number_as_tensor(number: float) -> Tensor:
    """The number as a tensor of the CPU, which kernels on a GPU take, too; made once, and never changed."""
    with torch.inference_mode(False):
        return torch.full((), number, dtype=torch.float64)
