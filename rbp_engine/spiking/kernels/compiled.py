"""The loops of `kernels/lif.py`, compiled: those of `kernels/unrolled.py`, on flat tensors (`kernels/layout.py`)."""

from collections.abc import Sequence

from torch import Tensor

from rbp_engine.spiking.kernels import compiler, unrolled
from rbp_engine.spiking.kernels.layout import Layout, number_as_tensor
from rbp_engine.spiking.kernels.neuron_input import Current
from rbp_engine.spiking.lif_parameters import LIFParameters


def spikes_only(current: Current, parameters: LIFParameters) -> Tensor:
    """See `lif.spikes_only`."""
    layout = Layout(current, parameters)
    neuron = layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold))
    return layout.back(compiler.jit(unrolled.spikes_only)(layout.inputs(current), neuron))


def rate(
    current: Current, means_of: Sequence[int], parameters: LIFParameters
) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The fields of `lif.RatePass`; the means are those of the terms with these numbers."""
    layout = Layout(current, parameters)
    saved = layout.empty(1 + len(means_of) + len(parameters.learnt), current.batch)
    divisor = layout.for_each_channel(current.timesteps)
    neuron = layout.neuron(parameters)._replace(threshold=layout.for_each_channel(parameters.threshold))
    spikes_TF = layout.empty_bytes(current.timesteps, current.batch)
    counts = compiler.jit(unrolled.rate)(layout.inputs(current), neuron, divisor, means_of, spikes_TF.unbind(0), saved)
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
    state = (*state, rho if isinstance(rho, Tensor) else number_as_tensor(rho), *traces)
    flat = [layout.flat(tensor) if tensor.ndim else tensor for tensor in state]
    spikes = layout.back(compiler.jit(unrolled.rate_step)(layout.inputs(current), layout.neuron(parameters), *flat))
    for tensor, changed in zip(state, flat, strict=True):
        if changed.data_ptr() != tensor.data_ptr():  # a copy: its layout in memory is not the current's
            tensor.copy_(layout.back(changed))
    return spikes


def gradient_through_time(current: Current, grad: Tensor, parameters: LIFParameters) -> tuple[Tensor, list[Tensor]]:
    """∂L/∂I [T, B, …] as of `lif.gradient_through_time`, and [B, …] each whose sums are those of what is learnt."""
    layout = Layout(current, parameters)
    decay, threshold = map(layout.for_each_channel, (parameters.decay, parameters.threshold))
    neuron = layout.neuron(parameters)._replace(decay=decay, threshold=threshold)
    at_current, learnt = compiler.jit(unrolled.gradient_through_time)(layout.inputs(current), neuron, layout.flat(grad))
    return layout.back(at_current), list(map(layout.back, learnt))
