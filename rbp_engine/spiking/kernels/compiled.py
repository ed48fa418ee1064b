"""The loops of `kernels/lif.py`, compiled: those of `kernels/unrolled.py`, on flat tensors (`kernels/layout.py`)."""

from collections.abc import Sequence

from torch import Tensor

from rbp_engine.spiking.kernels import compiler, timestep, unrolled
from rbp_engine.spiking.kernels.layout import Layout, number_as_tensor
from rbp_engine.spiking.kernels.neuron_input import Current
from rbp_engine.spiking.lif_parameters import LIFParameters, Neuron


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


def fire(
    current: Sequence[Tensor], before: Tensor | None, trace: Tensor | None, parameters: LIFParameters
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `timestep.fire`."""
    layout, neuron = _of_one_step(current[0], parameters)
    flat = (None if tensor is None else layout.flat(tensor) for tensor in (before, trace))
    spikes, charged, trace = compiler.jit(timestep.fire)(tuple(map(layout.flat, current)), *flat, neuron)
    return _back(layout, spikes), _back(layout, charged), None if trace is None else _back(layout, trace)


def gradient(
    grad_spikes: Tensor,
    grad_later: Tensor | None,
    charged: Tensor,
    before: Tensor | None,
    parameters: LIFParameters,
    through_time: bool,
) -> timestep.GradientOfTimestep:
    """See `timestep.gradient`."""
    layout, neuron = _of_one_step(charged, parameters)
    flat = (None if each is None else layout.flat(each) for each in (grad_spikes, grad_later, charged, before))
    at_current, at_charged, learnt = compiler.jit(timestep.gradient)(*flat, neuron, through_time)
    return timestep.GradientOfTimestep(
        _back(layout, at_current),
        None if at_charged is None else _back(layout, at_charged),
        [None if each is None else layout.back(each) for each in learnt],
    )


def _of_one_step(batch: Tensor, parameters: LIFParameters) -> tuple[Layout, Neuron]:
    """Layout and neurons of a layer whose timestep is like `batch`."""
    layout = Layout(Current.of(batch.unsqueeze(0)), parameters)
    decay, threshold = map(layout.for_each_channel, (parameters.decay, parameters.threshold))
    return layout, layout.neuron(parameters)._replace(decay=decay, threshold=threshold)


def _back(layout: Layout, values: Tensor) -> Tensor:
    """[F] as [B, …], with the strides of torch's own operations, by which batch norm chooses in which order it adds up.

    Of one pixel or one channel, which is contiguous both with channels first and last, torch takes it as the first.
    """
    batch = layout.back(values)
    return batch.view(-1).view(batch.shape) if batch.is_contiguous() else batch
