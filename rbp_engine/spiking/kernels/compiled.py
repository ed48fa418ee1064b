"""The loops of `spiking/kernels/lif.py` for `torch.compile`: all that a neuron layer does is one pass over memory.

The same equations, written without in-place operations and unrolled over time. inductor makes C++ of them on a CPU and
Triton on a GPU; the operations come in the order of the eager loops, so that float32 gives the same bits on a CPU.
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
from rbp_engine.spiking.kernels.neuron_input import Current, count_dtype, membrane_dtype
from rbp_engine.spiking.kernels.steps import Spikes, Static, Steps
from rbp_engine.spiking.lif_parameters import LIFParameters
from rbp_engine.spiking.surrogate import slope_function

# A term's values and its scale; static values lack the first dimension.
Terms = Sequence[tuple[Tensor | Sequence[Tensor], Tensor | None, bool]]
KERNELS = 200


class Neuron(NamedTuple):
    """`LIFParameters` as the loops here take them: a number may be given as [C], and the surrogate is its slope.

    `dtype` is the type of membranes and currents. It is a tuple because torch.compile then guards only the values that
    a loop uses.
    """

    decay: Tensor | float
    threshold: Tensor | float
    v_reset: float | None
    detach_reset: bool
    surrogate: Callable[..., Tensor]
    arguments: dict[str, float]
    dtype: torch.dtype

    def slope(self, distance: Tensor) -> Tensor:
        """σ'(distance), `distance` = membrane − threshold."""
        return self.surrogate(torch.ones_like(distance), distance, **self.arguments)


@functools.cache
def problem(device: str) -> str:
    """Why torch.compile does not work for that type of device; "" if it does. Takes some seconds the first time."""
    try:
        _jit(torch.neg)(torch.ones(8, device=device))
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def spikes_only(current: Current, parameters: LIFParameters) -> Tensor:
    """See `lif.spikes_only`."""
    layout = Layout(current)
    neuron = layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold))
    return layout.back(_jit(_spikes_only)(*layout.inputs(current), neuron))


def rate(
    current: Current, means_of: Sequence[int], parameters: LIFParameters
) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
    """See `lif.rate`; the means [B, …] are those of the terms with these numbers."""
    layout = Layout(current)
    saved = layout.empty(1 + len(means_of), current.batch)
    spikes, counts = _jit(_rate)(
        *layout.inputs(current),
        layout.for_each_channel(current.timesteps),
        means_of,
        saved,
        layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold)),
    )
    eligibility, *means = map(layout.back, saved)
    return list(map(layout.back, spikes)), layout.back(counts), eligibility, means


def rate_step(current: Current, state: Sequence[Tensor], rho: Tensor | float, parameters: LIFParameters) -> Tensor:
    """See `lif.RateLoop.step`; the state [B, …] changes in place: membrane, counts of spikes, sum of σ'·ρ.

    So does ρ [B, …], unless it is one number for all neurons.
    """
    layout = Layout(current)
    terms, shift, dtype, _ = layout.inputs(current)
    # As a tensor, a number does not ask for a kernel of its own at every timestep.
    state = (*state, rho if isinstance(rho, Tensor) else torch.full((), rho, dtype=torch.float64))
    flat = [layout.flat(tensor) if tensor.ndim else tensor for tensor in state]
    spikes = layout.back(_jit(_rate_step)(terms, shift, dtype, *flat, layout.neuron(parameters)))
    for tensor, changed in zip(state, flat, strict=True):
        if changed.data_ptr() != tensor.data_ptr():  # a copy, of another layout in memory than the current's
            tensor.copy_(layout.back(changed))
    return spikes


def gradient_through_time(current: Current, grad: Tensor, parameters: LIFParameters) -> Tensor:
    """See `lif.gradient_through_time`."""
    layout = Layout(current)
    decay, threshold = map(layout.for_each_channel, (parameters.decay, parameters.threshold))
    neuron = layout.neuron(parameters)._replace(decay=decay, threshold=threshold)
    return layout.back(_jit(_gradient_through_time)(*layout.inputs(current), layout.flat(grad), neuron))


class Layout:
    """Views of a layer's tensors with few dimensions, so that one compiled loop serves all layers and batches.

    [T, N, C] where channels come last in memory or nothing follows them, otherwise [T, B, C, S]; [T, N] where no batch
    norm tells channels apart. Without T for what has no time.
    """

    def __init__(self, current: Current) -> None:
        batch = current.batch
        self.shape, self.device = batch.shape, batch.device
        self.dtype = membrane_dtype(batch.dtype)
        self.by_channel = any(term.normalisation for term in current.terms)
        self.channels_last = batch.ndim == 4 and batch.is_contiguous(memory_format=torch.channels_last)
        self.channels_end = self.channels_last or batch.shape[2:].numel() == 1

    def inputs(self, current: Current) -> tuple[Terms, Tensor | None, torch.dtype, int]:
        """Terms, common shift, the type of the current, and T."""
        shift = current.shift()
        terms = [
            (
                self._flat_steps(term.steps),
                scale if scale is None else self._channels(scale),
                isinstance(term.steps, Static),
            )
            for term, scale in zip(current.terms, current.scales(), strict=True)
        ]
        dtype = current.terms[0].steps.dtype
        return terms, shift if shift is None else self._channels(shift), dtype, current.timesteps

    def neuron(self, parameters: LIFParameters) -> Neuron:
        """The layer's neurons, with one number for all channels."""
        return Neuron(
            parameters.decay,
            parameters.threshold,
            parameters.v_reset,
            parameters.detach_reset,
            *slope_function(parameters.surrogate),
            self.dtype,
        )

    def _flat_steps(self, steps: Steps) -> Tensor | list[Tensor]:
        return [self.flat(x) for x in steps.bytes_TBX] if isinstance(steps, Spikes) else self.flat(steps.values())

    def flat(self, values: Tensor) -> Tensor:
        """A view of [T, B, C, …] or [B, C, …]; a copy where its layout in memory is not that of the layer."""
        lead = values.shape[: values.ndim - len(self.shape)]
        if self.channels_last:
            values = values.movedim(-3, -1)
        if not self.by_channel:
            return values.reshape(*lead, -1)
        if self.channels_end:
            return values.reshape(*lead, -1, self.shape[1])
        return values.reshape(*lead, *self.shape[:2], -1)

    def back(self, values: Tensor) -> Tensor:
        """The view of a result as the tensors of the layer are."""
        lead = values.shape[: values.ndim - (1 if not self.by_channel else 2 if self.channels_end else 3)]
        if self.channels_last:
            batch, channels, height, width = self.shape
            return values.view(*lead, batch, height, width, channels).movedim(-1, -3)
        return values.view(*lead, *self.shape)

    def empty(self, number: int, batch: Tensor) -> tuple[Tensor, ...]:
        """So many uninitialised results of one timestep, flat and of the type of `batch`, in one block of memory.

        For what is freed together: on a CPU a hole of two tensors holds another one, a hole of one does not, for want
        of the bytes that align it. 0.93 of the memory (ResNet-18, T = 8, B = 32).
        """
        return batch.new_empty(number, *self.flat(batch).shape).unbind(0)

    def for_each_channel(self, number: float) -> Tensor | float:
        """The number as [C], where a batch norm tells channels apart.

        inductor makes one pass of loops over the same dimensions only. Where nothing in a loop differs between
        channels, it would have fewer, and the membrane or the slope of every timestep would go through memory.
        """
        if not self.by_channel:
            return number
        return self._channels(torch.full((self.shape[1],), number, dtype=self.dtype, device=self.device))

    def _channels(self, numbers: Tensor) -> Tensor:
        return numbers if self.channels_end else numbers.unsqueeze(-1)


@functools.cache
def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    private_apis.require(private_apis.COMPILING)
    _use_own_cache()
    # It says on stderr that there is no Triton, which a CPU does not need.
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    # dynamic: the sizes of layers and of the last batch make no new kernel. Beyond the limit torch says so once and
    # goes on uncompiled; with fullgraph=True it would raise.
    kernel = torch.compile(function, dynamic=True)
    dynamo, shapes = torch._dynamo.config, torch.fx.experimental._config

    def run(*args: Any, **kwargs: Any) -> Any:
        # Each thread has settings of its own, and autograd calls from one that has torch's.
        if dynamo.recompile_limit < KERNELS:  # a network has a kernel for every sum that its neurons are given
            dynamo.recompile_limit = KERNELS
        before, shapes.use_duck_shape = shapes.use_duck_shape, False  # sizes may be equal by chance
        try:
            # The methods have everything else run uncompiled.
            with torch.compiler.set_stance("default"):
                return kernel(*args, **kwargs)
        finally:
            shapes.use_duck_shape = before

    return run


def _use_own_cache() -> None:
    """Have torch keep all that it compiles where nobody else can put anything. Raises CompileCacheError."""
    compile_cache.prepare()
    from torch._inductor import codecache

    # Of headers torch says that they lie in the shared folder for temporary files, whatever is set.
    headers = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "precompiled_headers"
    codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(headers), str(headers / "locks")


def _spikes_only(terms: Terms, shift: Tensor | None, dtype: torch.dtype, timesteps: int, neuron: Neuron) -> Tensor:
    spikes, membrane = [], None
    for t in range(timesteps):
        charged = _charged(membrane, _current(terms, shift, neuron.dtype, t), neuron)
        fired = (charged >= neuron.threshold).to(charged.dtype)
        membrane = _after_reset(charged, fired, neuron)
        spikes.append(fired.to(dtype))
    return torch.stack(spikes)


def _rate(
    terms: Terms,
    shift: Tensor | None,
    dtype: torch.dtype,
    timesteps: int,
    divisor: Tensor | float,
    means_of: Sequence[int],
    saved: Sequence[Tensor],
    neuron: Neuron,
) -> tuple[list[Tensor], Tensor]:
    spikes, membrane = [], None
    counts: Any = 0.0
    eligibility: Any = 0.0
    rho: Any = 1.0
    for t in range(timesteps):
        fired, slope, membrane, reset_jacobian = _fire(membrane, _current(terms, shift, neuron.dtype, t), neuron)
        counts = counts + fired
        eligibility = eligibility + slope * rho
        rho = 1.0 + rho * reset_jacobian * neuron.decay
        spikes.append(fired.to(torch.uint8))
    means = (_sum_of_steps(terms[number][0], neuron.dtype) for number in means_of)
    for result, total in zip(saved, (eligibility, *means), strict=True):
        result.copy_(total / divisor)
    return spikes, counts.to(count_dtype(timesteps))


def _rate_step(
    terms: Terms,
    shift: Tensor | None,
    dtype: torch.dtype,
    membrane: Tensor,
    counts: Tensor,
    eligibility: Tensor,
    rho: Tensor,
    neuron: Neuron,
) -> Tensor:
    fired, slope, after, reset_jacobian = _fire(membrane, _current(terms, shift, neuron.dtype, 0), neuron)
    counts.add_(fired.to(counts.dtype))
    eligibility.add_(slope * rho)
    membrane.copy_(after)
    if rho.ndim:
        rho.copy_(1.0 + rho * reset_jacobian * neuron.decay)
    return fired.to(dtype)


def _fire(membrane: Tensor | None, current: Tensor, neuron: Neuron) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Spikes, slope σ', membrane after the reset, and how much of the charged membrane survives it, ∂v/∂u."""
    charged = _charged(membrane, current, neuron)
    fired = (charged >= neuron.threshold).to(charged.dtype)
    slope = neuron.slope(charged - neuron.threshold)
    if neuron.v_reset is None:
        reset_jacobian = 1.0 if neuron.detach_reset else 1.0 - neuron.threshold * slope
    else:
        reset_jacobian = 1.0 - fired if neuron.detach_reset else 1.0 - fired - (charged - neuron.v_reset) * slope
    return fired, slope, _after_reset(charged, fired, neuron), reset_jacobian


def _gradient_through_time(
    terms: Terms, shift: Tensor | None, _: torch.dtype, timesteps: int, grad: Tensor, neuron: Neuron
) -> Tensor:
    threshold, v_reset = neuron.threshold, neuron.v_reset
    charged, membrane = [], None
    for t in range(timesteps):
        charged.append(_charged(membrane, _current(terms, shift, neuron.dtype, t), neuron))
        membrane = _after_reset(charged[t], (charged[t] >= threshold).to(charged[t].dtype), neuron)
    gradients: list[Tensor] = []
    grad_membrane: Any = 0.0
    for t in reversed(range(timesteps)):
        fired, distance = (charged[t] >= threshold).to(charged[t].dtype), charged[t] - threshold
        by_spike = grad[t].to(distance.dtype)
        if not neuron.detach_reset:
            by_spike = by_spike + grad_membrane * (-threshold if v_reset is None else v_reset - charged[t])
        if v_reset is not None:
            grad_membrane = grad_membrane * (1.0 - fired)
        gradients.append(grad_membrane + neuron.slope(distance) * by_spike)
        grad_membrane = gradients[-1] * neuron.decay
    return torch.stack([gradient.to(grad.dtype) for gradient in reversed(gradients)])


def _sum_of_steps(values: Tensor | Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    total = values[0].to(dtype)
    for t in range(1, len(values)):
        total = total + values[t]
    return total


def _current(terms: Terms, shift: Tensor | None, dtype: torch.dtype, t: int) -> Tensor:
    total: Tensor | None = None
    for values, scale, static in terms:
        value = (values if static and isinstance(values, Tensor) else values[t]).to(dtype)
        value = value if scale is None else value * scale
        total = value if total is None else total + value
    assert total is not None
    return total if shift is None else total + shift


def _charged(membrane: Tensor | None, current: Tensor, neuron: Neuron) -> Tensor:
    decay, v_reset = neuron.decay, neuron.v_reset
    if membrane is None:  # at rest
        return v_reset + current if v_reset else current
    return decay * membrane + current if not v_reset else v_reset + decay * (membrane - v_reset) + current


def _after_reset(charged: Tensor, fired: Tensor, neuron: Neuron) -> Tensor:
    if neuron.v_reset is None:
        return charged - neuron.threshold * fired
    return torch.where(fired > 0, neuron.v_reset, charged)
