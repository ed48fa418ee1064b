"""The loops of `spiking/kernels/lif.py` for `torch.compile`: a neuron layer makes one pass over memory.

The same equations, unrolled over time and without in-place operations. inductor turns them into C++ on a CPU and into
Triton on a GPU. The operations come in the order of the eager loops, so that float32 gives the same bits on a CPU.

The loops see a timestep as [F], flattened by `Layout`; numbers that differ between channels, [C], broadcast against it.
"""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rbp_engine import compile_cache, private_apis
from rbp_engine.spiking.autograd.batch_norm import Normalisation
from rbp_engine.spiking.kernels.neuron_input import Current, count_dtype, membrane_dtype
from rbp_engine.spiking.kernels.steps import Spikes, Static, Steps
from rbp_engine.spiking.kernels.traces import Fired, advanced
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.surrogate import slope_function

KERNELS = 200


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


class Affine(NamedTuple):
    """The batch norms of a current: the scale [C] of each term, None for 1, and all their shifts together, [C]."""

    scales: Sequence[Tensor | None]
    shift_C: Tensor | None


class Neuron(NamedTuple):
    """`LIFParameters` as the loops here take them: a number may be given as [C], and the surrogate is its slope.

    `learns` says whether λ and V_th are learnt. `dtype` is the type of membranes and currents. It is a tuple because
    torch.compile then guards only the values that a loop uses.
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
        return self.surrogate(torch.ones_like(distance), distance, **self.arguments)


@functools.cache
def problem(device: str) -> str:
    """Why torch.compile does not work on that type of device, "" if it does. The first call takes some seconds."""
    try:
        _jit(torch.neg)(torch.ones(8, device=device))
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def spikes_only(current: Current, parameters: LIFParameters) -> Tensor:
    """See `lif.spikes_only`."""
    layout = Layout(current, parameters)
    neuron = layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold))
    return layout.back(_jit(_spikes_only)(layout.inputs(current), neuron))


def rate(
    current: Current, means_of: Sequence[int], parameters: LIFParameters
) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The fields of `lif.RatePass`; the means are those of the terms with these numbers."""
    layout = Layout(current, parameters)
    saved = layout.empty(1 + len(means_of) + len(parameters.learnt), current.batch)
    divisor = layout.for_each_channel(current.timesteps)
    neuron = layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold))
    spikes_TF = layout.empty_bytes(current.timesteps, current.batch)
    counts = _jit(_rate)(layout.inputs(current), neuron, divisor, means_of, spikes_TF.unbind(0), saved)
    eligibility, *others = map(layout.back, saved)
    means, by_learnt = others[: len(means_of)], others[len(means_of) :]
    return layout.back(spikes_TF), layout.back(counts), eligibility, means, by_learnt


def rate_step(
    current: Current,
    state: Sequence[Tensor],
    rho: Tensor | float,
    traces: Sequence[Tensor],
    parameters: LIFParameters,
) -> Tensor:
    """Spikes [B, …], as of `lif.RateLoop.step`; `state` changes in place: membrane, counts, sum of σ'·ρ, all [B, …].

    So do the traces [B, …], and ρ [B, …] unless it is one number for all neurons.
    """
    layout = Layout(current, parameters)
    # As a number it would make a kernel of its own for every timestep.
    state = (*state, rho if isinstance(rho, Tensor) else _number(rho), *traces)
    flat = [layout.flat(tensor) if tensor.ndim else tensor for tensor in state]
    spikes = layout.back(_jit(_rate_step)(layout.inputs(current), layout.neuron(parameters), *flat))
    for tensor, changed in zip(state, flat, strict=True):
        if changed.data_ptr() != tensor.data_ptr():  # a copy: its layout in memory is not the current's
            tensor.copy_(layout.back(changed))
    return spikes


def gradient_through_time(current: Current, grad: Tensor, parameters: LIFParameters) -> tuple[Tensor, list[Tensor]]:
    """∂L/∂I [T, B, …] as of `lif.gradient_through_time`, and [B, …] each whose sums are those of what is learnt."""
    layout = Layout(current, parameters)
    decay, threshold = map(layout.for_each_channel, (parameters.decay, parameters.threshold))
    neuron = layout.neuron(parameters)._replace(decay=decay, threshold=threshold)
    at_current, learnt = _jit(_gradient_through_time)(layout.inputs(current), neuron, layout.flat(grad))
    return layout.back(at_current), list(map(layout.back, learnt))


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
        return Neuron(
            self._number(parameters.decay),
            self._number(parameters.threshold),
            parameters.v_reset,
            parameters.detach_reset,
            parameters.learns,
            *slope_function(parameters.surrogate),
            self.dtype,
        )

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
def _number(number: float) -> Tensor:
    """The number as a tensor of the CPU, which kernels on a GPU take, too; made once, and never changed."""
    with torch.inference_mode(False):
        return torch.full((), number, dtype=torch.float64)


@functools.cache
def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    _use_own_cache()
    private_apis.require(private_apis.COMPILING)
    # It warns on stderr that there is no Triton, which a CPU does not need.
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    # dynamic: one kernel serves all sizes of layers and batches. Beyond the limit torch warns once and goes on
    # uncompiled; with fullgraph=True it would raise.
    kernel = torch.compile(function, dynamic=True)
    dynamo, shapes = torch._dynamo.config, torch.fx.experimental._config

    def run(*args: Any, **kwargs: Any) -> Any:
        # Each thread has its own settings, and autograd's thread has torch's defaults.
        if dynamo.recompile_limit < KERNELS:  # a network has one for each kind of sum
            dynamo.recompile_limit = KERNELS
        before, shapes.use_duck_shape = shapes.use_duck_shape, False  # sizes may be equal by chance
        try:
            # The methods run everything else uncompiled.
            with torch.compiler.set_stance("default"):
                return kernel(*args, **kwargs)
        finally:
            shapes.use_duck_shape = before

    return run


def _use_own_cache() -> None:
    """Keep what torch compiles in a folder that nobody else can write to. Raises CompileCacheError."""
    compile_cache.prepare()  # before the import, which would set torch's own default
    from torch._inductor import codecache

    # torch puts headers into the shared folder for temporary files, whatever is set.
    headers = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "precompiled_headers"
    codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(headers), str(headers / "locks")


def _spikes_only(current: FlatCurrent, neuron: Neuron) -> Tensor:
    """Spikes [T, F]."""
    spikes, membrane_F, affine = [], None, _affine(current)
    for t in range(current.timesteps):
        charged_F = _charged(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron)
        fired_F = (charged_F >= neuron.threshold).to(charged_F.dtype)
        membrane_F = _after_reset(charged_F, fired_F, neuron)
        spikes.append(fired_F.to(current.dtype))
    return torch.stack(spikes)


def _rate(
    current: FlatCurrent,
    neuron: Neuron,
    divisor: Tensor | float,
    means_of: Sequence[int],
    spikes: Sequence[Tensor],
    saved: Sequence[Tensor],
) -> Tensor:
    """Counts of spikes [F]. The spikes go into T times [F] bytes; eligibility, the means of terms and by what is learnt
    into `saved`, [F] each. `divisor` is T, by which their sums are divided.
    """
    membrane_F = None
    counts_F: Any = 0.0
    eligibility_F: Any = 0.0
    rho: Any = 1.0
    traces: Any = [0.0] * (2 * sum(neuron.learns))
    affine = _affine(current)
    for t in range(current.timesteps):
        now = _fire(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron)
        membrane_F = now.membrane
        counts_F = counts_F + now.spikes
        eligibility_F = eligibility_F + now.slope * rho
        rho = 1.0 + rho * now.reset_jacobian * neuron.decay
        traces = advanced(traces, now, neuron)
        spikes[t].copy_(now.spikes)
    means = (_sum_of_steps(current.terms[number].values, neuron.dtype) for number in means_of)
    for result_F, total_F in zip(saved, (eligibility_F, *means, *traces[1::2]), strict=True):
        result_F.copy_(total_F / divisor)
    counts: Tensor = counts_F.to(count_dtype(current.timesteps))
    return counts


def _rate_step(
    current: FlatCurrent,
    neuron: Neuron,
    membrane_F: Tensor,
    counts_F: Tensor,
    eligibility_F: Tensor,
    rho: Tensor,
    *traces: Tensor,
) -> Tensor:
    """Spikes [F] of one timestep; the state changes in place. ρ is [F], or one number, which stays as it is."""
    now = _fire(membrane_F, _current_at(current, _affine(current), neuron.dtype, 0), neuron)
    counts_F.add_(now.spikes.to(counts_F.dtype))
    eligibility_F.add_(now.slope * rho)
    if rho.ndim:
        rho.copy_(1.0 + rho * now.reset_jacobian * neuron.decay)
    after = advanced(traces, now, neuron)
    membrane_F.copy_(now.membrane)
    for trace_F, after_F in zip(traces, after, strict=True):
        trace_F.copy_(after_F)
    return now.spikes.to(current.dtype)


def _fire(membrane_F: Tensor | None, current_F: Tensor, neuron: Neuron) -> Fired:
    """One timestep from the membrane before it."""
    charged_F = _charged(membrane_F, current_F, neuron)
    fired_F = (charged_F >= neuron.threshold).to(charged_F.dtype)
    slope_F = neuron.slope(charged_F - neuron.threshold)
    reset_jacobian: Any
    if neuron.v_reset is None:
        reset_jacobian = 1.0 if neuron.detach_reset else 1.0 - neuron.threshold * slope_F
    elif neuron.detach_reset:
        reset_jacobian = 1.0 - fired_F
    else:
        reset_jacobian = 1.0 - fired_F - (charged_F - neuron.v_reset) * slope_F
    return Fired(charged_F, fired_F, slope_F, _after_reset(charged_F, fired_F, neuron), reset_jacobian)


def _gradient_through_time(current: FlatCurrent, neuron: Neuron, grad_TF: Tensor) -> tuple[Tensor, list[Tensor]]:
    """∂L/∂I [T, F] for ∂L/∂s [T, F], and [F] each whose sums are ∂L/∂λ and ∂L/∂V_th where they are learnt."""
    threshold, v_reset = neuron.threshold, neuron.v_reset
    learns_decay, learns_threshold = neuron.learns
    charged, membranes, membrane_F, affine = [], [], None, _affine(current)
    for t in range(current.timesteps):
        charged.append(_charged(membrane_F, _current_at(current, affine, neuron.dtype, t), neuron))
        membrane_F = _after_reset(charged[t], (charged[t] >= threshold).to(charged[t].dtype), neuron)
        membranes.append(membrane_F)
    gradients: list[Tensor] = []
    grad_membrane: Any = 0.0
    by_decay_F, by_threshold_F = torch.zeros_like(charged[0]), torch.zeros_like(charged[0])
    for t in reversed(range(current.timesteps)):
        fired_F, distance_F = (charged[t] >= threshold).to(charged[t].dtype), charged[t] - threshold
        grad_spikes_F = grad_TF[t].to(distance_F.dtype)
        if not neuron.detach_reset:
            grad_spikes_F = grad_spikes_F + grad_membrane * (-threshold if v_reset is None else v_reset - charged[t])
        by_spikes_F = neuron.slope(distance_F) * grad_spikes_F
        if learns_threshold:
            by_threshold_F = by_threshold_F - by_spikes_F
            if v_reset is None:
                by_threshold_F = by_threshold_F - grad_membrane * fired_F
        if v_reset is not None:
            grad_membrane = grad_membrane * (1.0 - fired_F)
        gradients.append(grad_membrane + by_spikes_F)
        if learns_decay and t > 0:
            from_rest_F = membranes[t - 1] - v_reset if v_reset else membranes[t - 1]
            by_decay_F = by_decay_F + gradients[-1] * from_rest_F
        grad_membrane = gradients[-1] * neuron.decay
    learnt = [total_F for total_F, learns in ((by_decay_F, learns_decay), (by_threshold_F, learns_threshold)) if learns]
    return torch.stack([gradient.to(grad_TF.dtype) for gradient in reversed(gradients)]), learnt


def _sum_of_steps(values: Tensor | Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    total_F = values[0].to(dtype)
    for t in range(1, len(values)):
        total_F = total_F + values[t]
    return total_F


def _affine(current: FlatCurrent) -> Affine:
    """The batch norms of a current, in the order of operations of `Normalisation.affine`."""
    scales: list[Tensor | None] = []
    shift_C: Tensor | None = None
    for _, norm, _ in current.terms:
        if norm is None:
            scales.append(None)
            continue
        inverse_C = norm.known_inverse_C
        if inverse_C is None:
            assert norm.variance_C is not None
            inverse_C = torch.rsqrt(norm.variance_C + norm.eps)
        scale_C = inverse_C if norm.weight_C is None else inverse_C * norm.weight_C
        by_mean_C = norm.mean_C * scale_C
        this_C = -by_mean_C if norm.bias_C is None else norm.bias_C - by_mean_C
        scales.append(scale_C)
        shift_C = this_C if shift_C is None else shift_C + this_C
    return Affine(scales, shift_C)


def _current_at(current: FlatCurrent, affine: Affine, dtype: torch.dtype, t: int) -> Tensor:
    """I_t [F]: batch norms and the sum are carried out here."""
    total_F: Tensor | None = None
    for (values, _, static), scale_C in zip(current.terms, affine.scales, strict=True):
        value_F = (values if static and isinstance(values, Tensor) else values[t]).to(dtype)
        value_F = value_F if scale_C is None else value_F * scale_C
        total_F = value_F if total_F is None else total_F + value_F
    assert total_F is not None
    return total_F if affine.shift_C is None else total_F + affine.shift_C


def _charged(membrane_F: Tensor | None, current_F: Tensor, neuron: Neuron) -> Tensor:
    decay, v_reset = neuron.decay, neuron.v_reset
    if membrane_F is None:  # at rest
        return v_reset + current_F if v_reset else current_F
    if not v_reset:
        return decay * membrane_F + current_F
    return v_reset + decay * (membrane_F - v_reset) + current_F


def _after_reset(charged_F: Tensor, fired_F: Tensor, neuron: Neuron) -> Tensor:
    if neuron.v_reset is None:
        return charged_F - neuron.threshold * fired_F
    return torch.where(fired_F > 0, neuron.v_reset, charged_F)
