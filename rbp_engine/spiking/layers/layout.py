"""A layer's tensors as compiled loops take them: flat, so that one kernel serves layers and batches of all sizes.

A timestep is [F] (`spiking/layers/loops.py`). Numbers that differ between channels, [C], broadcast against it.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rbp_engine.spiking.batch_norm import Normalisation, scale_and_shift
from rbp_engine.spiking.current import Current
from rbp_engine.spiking.layers.loops import Layout
from rbp_engine.spiking.steps import Spikes, Steps, TimeConstant


class FlatNorm(NamedTuple):
    """A `Normalisation`: mean, variance with its ε, or 1/√(var + ε) where it is known, γ and β; [C] each."""

    mean_C: Tensor
    variance_C: Tensor | None
    eps: float
    known_inverse_C: Tensor | None
    weight_C: Tensor | None
    bias_C: Tensor | None

    def affine(self) -> tuple[Tensor, Tensor]:
        """Its scale and shift."""
        inverse_C = self.known_inverse_C
        if inverse_C is None:
            assert self.variance_C is not None
            inverse_C = torch.rsqrt(self.variance_C + self.eps)
        return scale_and_shift(self.mean_C, inverse_C, self.weight_C, self.bias_C)


class FlatTerm(NamedTuple):
    """A `Term`: its values, [T, F], T times [F], or [F] if static, and its batch norm."""

    values: Tensor | Sequence[Tensor]
    norm: FlatNorm | None
    static: bool


class FlatCurrent(NamedTuple):
    """A `Current`: its terms, the type of its values, and that of membranes."""

    terms: Sequence[FlatTerm]
    dtype: torch.dtype
    membrane_dtype: torch.dtype

    def at(self, t: int) -> Tensor:
        """I_t [F]: batch norms, in the order of operations of `Normalisation.affine`, and the sum."""
        total_F: Tensor | None = None
        shift_C: Tensor | None = None
        for values, norm, static in self.terms:
            value_F = (values if static and isinstance(values, Tensor) else values[t]).to(self.membrane_dtype)
            if norm is not None:
                scale_C, this_C = norm.affine()
                shift_C = this_C if shift_C is None else shift_C + this_C
                value_F = value_F * scale_C
            total_F = value_F if total_F is None else total_F + value_F
        assert total_F is not None
        return total_F if shift_C is None else total_F + shift_C

    def values_at(self, term: int, t: int) -> Tensor:
        """The values [F] of a term, before its batch norm."""
        return self.terms[term].values[t]


class FlatLayout(Layout):
    """Views of a layer's tensors with few dimensions, so that one compiled loop serves all layers and batches.

    A timestep, [F] for short, is [N, C] where channels come last in memory or nothing follows them, otherwise
    [B, C, S]; [N] where neither a batch norm nor a neuron's parameters tell channels apart.
    """

    def __init__(self, current: Current, learnt: Sequence[Tensor]) -> None:
        batch = current.like
        super().__init__(batch)
        self.shape, self.device = batch.shape, batch.device
        self.by_channel = any(value.ndim for value in learnt) or any(term.normalisation for term in current.terms)
        self.channels_last = batch.ndim == 4 and batch.is_contiguous(memory_format=torch.channels_last)
        self.channels_end = self.channels_last or batch.shape[2:].numel() == 1

    def reader(self, current: Current) -> FlatCurrent:
        terms = [
            FlatTerm(self._flat_steps(term.steps), self._norm(term.normalisation), isinstance(term.steps, TimeConstant))
            for term in current.terms
        ]
        return FlatCurrent(terms, current.terms[0].steps.dtype, self.dtype)

    def _norm(self, normalisation: Normalisation | None) -> FlatNorm | None:
        if normalisation is None:
            return None
        norm = normalisation.norm

        def flat(numbers: Tensor | None) -> Tensor | None:
            return numbers if numbers is None else self.channels(numbers.detach())

        return FlatNorm(
            self.channels(normalisation.mean),
            flat(normalisation.variance),
            norm.eps,
            flat(normalisation.known_inverse),
            flat(norm.weight),
            flat(norm.bias),
        )

    def _flat_steps(self, steps: Steps) -> Tensor | list[Tensor]:
        return [self.flat(x) for x in steps.bytes_TBX] if isinstance(steps, Spikes) else self.flat(steps.values())

    def flat(self, values: Tensor) -> Tensor:
        """A view, or a copy where its layout in memory is not the layer's."""
        lead = values.shape[: values.ndim - len(self.shape)]
        if self.channels_last:
            values = values.movedim(-3, -1)
        if not self.by_channel:
            return values.reshape(*lead, -1)
        if self.channels_end:
            return values.reshape(*lead, -1, self.shape[1])
        return values.reshape(*lead, *self.shape[:2], -1)

    def back(self, values: Tensor) -> Tensor:
        lead = values.shape[: values.ndim - (1 if not self.by_channel else 2 if self.channels_end else 3)]
        if self.channels_last:
            batch, channels, height, width = self.shape
            return values.view(*lead, batch, height, width, channels).movedim(-1, -3)
        return values.view(*lead, *self.shape)

    def empty_steps(self, batch: Tensor, timesteps: int, dtype: torch.dtype | None = None) -> Tensor:
        return batch.new_empty((timesteps, *self.flat(batch).shape), dtype=dtype)

    def channels(self, numbers: Tensor) -> Tensor:
        """[C], as it broadcasts against [F]."""
        return numbers if self.channels_end else numbers.unsqueeze(-1)

    def number(self, number: Tensor | float) -> Tensor | float:
        if not isinstance(number, Tensor):
            return number
        return self.channels(number.detach().flatten()) if number.ndim else number.detach()

    def for_each_channel(self, number: Tensor | float) -> Tensor | float:
        """The number as [C], where channels differ.

        inductor fuses loops over the same dimensions only. A loop in which nothing differs between channels would have
        fewer dimensions, and the membrane or the slope of every timestep would go through memory.
        """
        if not self.by_channel:
            return self.number(number)
        if isinstance(number, Tensor):
            return self.channels(number.detach().flatten().expand(self.shape[1]))
        return self.channels(constant(number, (self.shape[1],), self.dtype, self.device))


@functools.lru_cache(maxsize=1024)
def constant(number: float, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """A tensor filled with this number, on the CPU by default; made once, and never changed."""
    with torch.inference_mode(False):  # elsewhere it would compile other kernels
        return torch.full(shape, number, dtype=dtype, device=device)
